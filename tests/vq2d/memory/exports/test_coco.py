"""COCO, read back by pycocotools."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from ren_core.regions import decode_coco
from vq2d.memory.exports import write_coco


@pytest.fixture
def read(tmp_path):
    """Writes tracks and reads them by pycocotools."""

    def call(tracks):
        (path,) = write_coco(tracks, tmp_path / "out")
        return COCO(str(path))

    return call


def test_every_box_is_read_back(read, answer):
    coco = read(answer)
    assert sorted(coco.anns) == list(range(1, 12))  # 4 + 4 + 3, since a frame repeats
    for track_id, track in enumerate(answer, start=1):
        found = [coco.anns[i] for i in sorted(coco.anns) if coco.anns[i]["track_id"] == track_id]
        once = track.each_frame_once()
        images = coco.loadImgs([annotation["image_id"] for annotation in found])
        assert [image["frame"] for image in images] == once.source_frames.tolist()
        assert [image["time_s"] for image in images] == once.times_s.tolist()
        assert {image["video"] for image in images} == {str(track.video)}
        left, top, width, height = np.array([annotation["bbox"] for annotation in found]).T
        boxes = np.stack([left, top, left + width, top + height], axis=1)
        assert np.abs(boxes - once.boxes_xyxy).max() < 0.01
        assert {coco.cats[a["category_id"]]["name"] for a in found} == {track.label}
        assert {annotation["score"] for annotation in found} == {track.score}


def test_images_are_frames(read, answer):
    coco = read([*answer, answer[0]])  # one thing twice in the same frames
    assert sorted(coco.imgs) == list(range(1, 12))
    first = coco.imgs[1]
    assert (first["file_name"], first["height"], first["width"]) == (
        "Küche & <Flur>/000012.jpg",
        48,
        64,
    )
    assert len(coco.getAnnIds(imgIds=[1])) == 2


def test_only_known_masks_are_written(read, sighting):
    coco = read([sighting])
    for number, mask in enumerate(sighting.masks, start=1):
        annotation = coco.anns[number]
        if mask is None:
            assert "segmentation" not in annotation
            assert annotation["area"] == pytest.approx(10.25 * 10.75)
        else:
            assert isinstance(annotation["segmentation"]["counts"], str)
            assert np.array_equal(coco.annToMask(annotation), mask)
            assert np.array_equal(decode_coco(annotation["segmentation"], (48, 64)), mask)
            assert annotation["area"] == mask.sum()


def test_the_answer_is_found_equal_to_itself(read, answer):
    coco = read(answer)
    results = coco.loadRes(coco.dataset["annotations"])
    judged = COCOeval(coco, results, "bbox")
    judged.evaluate()
    judged.accumulate()
    judged.summarize()
    assert judged.stats[0] == pytest.approx(1)  # AP


def test_an_answer_without_tracks(read):
    coco = read([])
    assert (coco.anns, coco.imgs, coco.cats) == ({}, {}, {})


def test_the_file_is_ascii(tmp_path, sighting):
    (path,) = write_coco([sighting], tmp_path)
    document = json.loads(path.read_bytes().decode("ascii"))  # pycocotools reads as the locale is
    assert document["categories"][0]["name"] == sighting.label


@pytest.mark.filterwarnings("ignore")
def test_datumaro_reads_it(tmp_path, answer):
    datumaro = pytest.importorskip("datumaro")
    (path,) = write_coco(answer, tmp_path / "out")
    (tmp_path / "annotations").mkdir()
    (tmp_path / "images").mkdir()
    path.rename(tmp_path / "annotations" / "instances_default.json")  # where it looks
    shutil.rmtree(tmp_path / "out")
    found = {}
    for item in datumaro.Dataset.import_from(str(tmp_path), "coco_instances"):
        for shape in item.annotations:
            found[item.id, shape.type.name] = shape
    for track in answer:
        once = track.each_frame_once()
        for i, (frame, box) in enumerate(zip(once.source_frames, once.boxes_xyxy, strict=True)):
            name = f"{track.video.stem}/{frame:06d}"
            assert np.abs(np.array(found[name, "bbox"].points) - box).max() < 0.01
            known = once.masks is not None and once.masks[i] is not None
            assert ((name, "mask") in found) == known
            if known:
                assert np.array_equal(found[name, "mask"].image, once.masks[i])
