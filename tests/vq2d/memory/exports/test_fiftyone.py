"""FiftyOne's labelled videos, read by hand and, where its database runs, by FiftyOne."""

from __future__ import annotations

import base64
import io
import json
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vq2d.memory.exports import write_fiftyone


def pixels(object_, size_hw):
    """Box (4,) of an object in pixels."""
    H, W = size_hw
    low, high = (object_["bounding_box"][corner] for corner in ("top_left", "bottom_right"))
    return [low["x"] * W, low["y"] * H, high["x"] * W, high["y"] * H]


def test_every_box_is_read_back(tmp_path, answer):
    manifest, *labels = write_fiftyone(answer, tmp_path)
    index = json.loads(manifest.read_text())["index"]
    assert [record["data"] for record in index] == [str(answer[0].video), str(answer[2].video)]
    assert [tmp_path / record["labels"] for record in index] == labels
    for path, ids in zip(labels, [(1, 2), (3,)], strict=True):
        frames = json.loads(path.read_text())["frames"]
        assert [int(number) for number in frames] == [f["frame_number"] for f in frames.values()]
        for track_id in ids:
            track = answer[track_id - 1].each_frame_once()
            found = {
                frame["frame_number"] - 1: object_
                for frame in frames.values()
                for object_ in frame["objects"]["objects"]
                if object_["index"] == track_id
            }
            assert list(found) == track.source_frames.tolist()
            boxes = [pixels(object_, track.size_hw) for object_ in found.values()]
            assert np.abs(np.array(boxes) - track.boxes_xyxy).max() < 1e-3
            assert {o["label"] for o in found.values()} == {track.label}
            assert {o["confidence"] for o in found.values()} == {track.score}


def test_two_things_in_a_frame(tmp_path, sighting):
    _, labels = write_fiftyone([sighting, sighting], tmp_path)
    frame = json.loads(labels.read_text())["frames"]["13"]
    assert [object_["index"] for object_ in frame["objects"]["objects"]] == [1, 2]


def test_a_mask_fills_its_box(tmp_path, sighting):
    _, labels = write_fiftyone([sighting], tmp_path)
    frames = json.loads(labels.read_text())["frames"]
    (first,), (second,) = (frames[number]["objects"]["objects"] for number in ("13", "19"))
    file = zlib.decompress(base64.b64decode(first["mask"]))
    mask = np.load(io.BytesIO(file))
    assert mask.shape == (11, 10)  # from (2, 5) to (12, 16), rounded to whole pixels
    assert np.flatnonzero(~mask).tolist() == [0]
    assert "mask" not in second  # not known


def test_a_box_of_no_whole_pixel_has_no_mask(tmp_path, sighting):
    thin = sighting.boxes_xyxy.copy()
    thin[0] = 3.1, 3.1, 3.2, 9
    _, labels = write_fiftyone([replace(sighting, boxes_xyxy=thin)], tmp_path)
    (first,) = json.loads(labels.read_text())["frames"]["13"]["objects"]["objects"]
    assert "mask" not in first


def test_an_answer_without_tracks(tmp_path):
    (manifest,) = write_fiftyone([], tmp_path)
    assert json.loads(manifest.read_text())["index"] == []


@pytest.mark.filterwarnings("ignore")
def test_fiftyone_reads_it(tmp_path, answer):
    fiftyone = pytest.importorskip("fiftyone")
    from fiftyone.core.odm import get_db_conn

    try:
        get_db_conn()
    except fiftyone.core.config.FiftyOneConfigError as err:
        pytest.skip(f"FiftyOne's database does not run here: {err}")
    videos = [tmp_path / track.video.name for track in answer]
    for video in videos:
        video.touch()
    answer = [replace(t, video=video) for t, video in zip(answer, videos, strict=True)]
    write_fiftyone(answer, tmp_path / "out")
    dataset = fiftyone.Dataset.from_dir(
        dataset_dir=str(tmp_path / "out"), dataset_type=fiftyone.types.FiftyOneVideoLabelsDataset
    )
    assert [Path(path) for path in dataset.values("filepath")] == [videos[0], videos[2]]
    found = {1: {}, 2: {}, 3: {}}
    for sample in dataset:
        for number, frame in sample.frames.items():
            for detection in frame.detections.detections:
                found[detection.index][number - 1] = detection
    dataset.delete()
    for track_id, track in enumerate(answer, start=1):
        once = track.each_frame_once()
        assert sorted(found[track_id]) == once.source_frames.tolist()
        for frame, box in zip(once.source_frames, once.boxes_xyxy, strict=True):
            detection = found[track_id][int(frame)]
            x, y, w, h = detection.bounding_box
            assert np.allclose(np.array([x, y, x + w, y + h]) * (64, 48, 64, 48), box, atol=1e-3)
            assert (detection.label, detection.confidence) == (track.label, track.score)
    assert found[1][12].mask.shape == (11, 10)
    assert found[1][18].mask is None
