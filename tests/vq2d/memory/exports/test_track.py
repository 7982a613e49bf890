"""What a track of an export must be, and how tracks are grouped by file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ren_core.errors import DataError, ShapeError
from vq2d.memory.exports.track import NAME_BYTES, by_video


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"boxes_xyxy": np.zeros((0, 4), np.float32)}, ShapeError, "T >= 1"),
        ({"boxes_xyxy": np.zeros((4, 5), np.float32)}, ShapeError, "boxes"),
        ({"source_frames": np.array([1, 2, 3])}, ShapeError, "4 source_frames"),
        ({"times_s": np.zeros(5)}, ShapeError, "4 times_s"),
        ({"masks": (None,)}, ShapeError, "4 masks"),
        ({"masks": (np.zeros((2, 2), bool), None, None, None)}, ShapeError, "height and width"),
        ({"size_hw": (0, 64)}, DataError, "frames of some size"),
        ({"num_source_frames": 30}, DataError, "12 to 30 are not all among the 30"),
        ({"source_frames": np.array([-1, 0, 1, 2])}, DataError, "not all among"),
        ({"source_frames": np.array([1, 3, 2, 4])}, DataError, "must not go back"),
        ({"times_s": np.array([0, 1, np.nan, 2])}, DataError, "times"),
        ({"times_s": np.array([0.0, 2, 1, 3])}, DataError, "times"),
        ({"source_fps": 0.0}, DataError, "rate above 0"),
        ({"score": float("nan")}, DataError, "finite"),
        ({"label": " "}, DataError, "label"),
    ],
)
def test_what_a_track_must_be(sighting, changes, error, message):
    with pytest.raises(error, match=message):
        replace(sighting, **{"masks": None, **changes})


@pytest.mark.parametrize(
    "box", [[-0.5, 0, 4, 4], [0, 0, 64.5, 4], [0, 0, 4, 48.5], [9, 0, 4, 4], [0, 0, np.nan, 4]]
)
def test_boxes_lie_in_the_frame(sighting, box):
    boxes = sighting.boxes_xyxy.copy()
    boxes[2] = box
    with pytest.raises(DataError, match="inverted or leaves the frame of 64 x 48"):
        replace(sighting, boxes_xyxy=boxes)


def test_of_a_repeated_frame_the_first_box_stays(sighting):
    assert sighting.each_frame_once() is sighting
    twice = replace(sighting, source_frames=np.array([3, 3, 5, 5]))
    once = twice.each_frame_once()
    assert once.source_frames.tolist() == [3, 5]
    assert np.array_equal(once.boxes_xyxy, sighting.boxes_xyxy[[0, 2]])
    assert np.array_equal(once.times_s, sighting.times_s[[0, 2]])
    assert [mask is not None for mask in once.masks] == [True, True]


def test_left_top_width_height(sighting):
    assert sighting.boxes_xywh[1].tolist() == [5.25, 5.0, 10.25, 10.75]


def test_tracks_are_grouped_by_video_and_numbered_through(answer):
    kitchen, garden = by_video([answer[0], answer[2], answer[1]])
    assert (kitchen.name, list(kitchen.tracks)) == ("Küche & <Flur>", [1, 3])
    assert (garden.name, list(garden.tracks)) == ("garden", [2])
    assert garden.file.source_frames.tolist() == [0, 1, 2]
    assert by_video([]) == ()


def test_each_video_has_a_name_of_its_own(sighting):
    paths = ["/a/x.mp4", "/b/X.mp4", "/a/x.mov", "/a/two\nlines.mp4", f"/a/{'茶' * 80}.mp4"]
    names = [v.name for v in by_video([replace(sighting, video=Path(path)) for path in paths])]
    assert names[:4] == ["x", "X-2", "x-3", "two_lines"]
    assert names[4] == "茶" * (NAME_BYTES // 3)


def test_tracks_agree_about_their_file(sighting):
    with pytest.raises(DataError, match="different sizes"):
        by_video([sighting, replace(sighting, source_fps=25.0)])
