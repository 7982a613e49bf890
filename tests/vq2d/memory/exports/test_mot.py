"""MOTChallenge, read by hand, by motmetrics and by TrackEval."""

from __future__ import annotations

import configparser

import numpy as np
import pytest

from vq2d.memory.exports import write_mot

NAMES = ("Küche & <Flur>", "garden")


def lines(path):
    return [line.split(",") for line in path.read_text(encoding="utf-8").splitlines()]


def boxes_of(track):
    """Frames and (left, top, width, height) that a track shall have."""
    once = track.each_frame_once()
    x1, y1, x2, y2 = once.boxes_xyxy.T
    return once.source_frames, np.stack([x1, y1, x2 - x1, y2 - y1], axis=1)


def test_lines_count_frames_and_pixels_from_one(tmp_path, answer):
    files = write_mot(answer, tmp_path)
    assert files == [
        tmp_path / file for name in NAMES for file in (f"data/{name}.txt", f"{name}/seqinfo.ini")
    ]
    rows = lines(files[0]) + lines(files[2])
    assert rows[0] == ["13", "1", "3.25", "6.00", "10.25", "10.75", "0.812500", "-1", "-1", "-1"]
    for track_id, track in enumerate(answer, start=1):
        numbers = np.array([row for row in rows if int(row[1]) == track_id], float)
        frames, boxes = boxes_of(track)
        assert (numbers[:, 0] - 1).tolist() == frames.tolist()
        assert np.abs(numbers[:, 2:6] - (1, 1, 0, 0) - boxes).max() < 0.02
        assert set(numbers[:, 6]) == {track.score}


def test_lines_are_ordered_by_frame(tmp_path, answer):
    files = write_mot([answer[1], answer[0]], tmp_path)
    assert [row[:2] for row in lines(files[0])][3:5] == [["31", "2"], ["72", "1"]]


def test_seqinfo(tmp_path, answer):
    files = write_mot(answer, tmp_path)
    info = configparser.ConfigParser()
    info.read(files[1], encoding="utf-8")
    assert dict(info["Sequence"]) == {
        "name": NAMES[0],
        "imdir": "img1",
        "framerate": "30",
        "seqlength": "90",
        "imwidth": "64",
        "imheight": "48",
        "imext": ".jpg",
    }


def test_an_answer_without_tracks(tmp_path):
    (path,) = write_mot([], tmp_path)
    assert path == tmp_path / "data" / "nothing.txt"
    assert path.read_bytes() == b""


@pytest.mark.filterwarnings("ignore")
def test_motmetrics_reads_it(tmp_path, answer):
    motmetrics = pytest.importorskip("motmetrics")
    files = write_mot(answer, tmp_path)
    found = motmetrics.io.loadtxt(files[0], fmt="mot15-2D")
    for track_id in (1, 2):
        track = found.xs(track_id, level="Id")
        frames, boxes = boxes_of(answer[track_id - 1])
        assert (track.index - 1).tolist() == frames.tolist()
        assert np.abs(track[["X", "Y", "Width", "Height"]].to_numpy() - boxes).max() < 0.02
        assert set(track["Confidence"]) == {answer[track_id - 1].score}


@pytest.mark.filterwarnings("ignore")
def test_trackeval_finds_the_answer_equal_to_itself(tmp_path, answer):
    trackeval = pytest.importorskip("trackeval")
    target = tmp_path / "answer"
    write_mot(answer, target)
    for name in NAMES:  # as truth: to be counted, class 1, wholly visible
        rows = lines(target / "data" / f"{name}.txt")
        truth = target / name / "gt" / "gt.txt"
        truth.parent.mkdir()
        truth.write_text("".join(",".join([*row[:6], "1", "1", "1"]) + "\n" for row in rows))
    dataset = trackeval.datasets.MotChallenge2DBox(
        {
            "GT_FOLDER": str(target),
            "TRACKERS_FOLDER": str(tmp_path),
            "TRACKERS_TO_EVAL": ["answer"],
            "SKIP_SPLIT_FOL": True,
            "SEQ_INFO": dict.fromkeys(NAMES),  # lengths are read from seqinfo.ini
            "PRINT_CONFIG": False,
        }
    )
    assert dataset.seq_lengths == {NAMES[0]: 90, "garden": 20}
    for name in NAMES:
        raw = dataset.get_raw_seq_data("answer", name)
        data = dataset.get_preprocessed_seq_data(raw, "pedestrian")
        hota = trackeval.metrics.HOTA().eval_sequence(data)
        assert np.allclose(hota["HOTA"], 1)
        assert data["num_tracker_dets"] == data["num_gt_dets"] == {"garden": 3}.get(name, 8)
