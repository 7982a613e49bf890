"""Stages 4 and 5 on hand-made tracks: choosing, following both ways, joining."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ren_core.errors import ConfigError
from vq2d.localize.track import TrackConfig, choose, continues, cut_at, join, track_candidate
from vq2d.masking.base import TrackStep, VideoTracker
from vq2d.types import Candidate, ResponseTrack


def candidate(frame, score, similarity=0.5):
    box = np.array([10, 10, 20, 20], np.float32)
    return Candidate(frame, (15.0, 15.0), similarity, box_xyxy=box, refined_score=score)


def track(start, lefts, score=0.5):
    boxes = np.array([[x, 0, x + 10, 10] for x in lefts], np.float32)
    return ResponseTrack(start, boxes, score)


class Frames:
    size_hw = (40, 60)

    def __len__(self):
        return 30


class Drift(VideoTracker):
    """Moves a box by three pixels per frame; the object exists in frames 4..16."""

    def track(self, frames, start_frame, box_xyxy, stop_frame):
        step = 1 if stop_frame > start_frame else -1
        for i in range(start_frame, stop_frame, step):
            if not 4 <= i <= 16:
                return
            yield TrackStep(i, box_xyxy + 3 * (i - start_frame), 1.0)


def test_the_last_or_the_best_candidate():
    good = [candidate(3, 0.9), candidate(8, 0.7), candidate(5, 0.9)]
    assert choose(good, "last").frame_idx == 8
    assert choose(good, "highest").frame_idx == 5  # the later one of equals
    assert choose([], "last") is None
    with pytest.raises(ConfigError, match="'last' or 'highest'; got"):
        TrackConfig(first="first")


@pytest.mark.parametrize(
    ("stop", "most", "expected"), [(30, 500, (4, 17)), (12, 500, (4, 12)), (30, 3, (6, 13))]
)
def test_a_candidate_is_followed_both_ways(stop, most, expected):
    config = TrackConfig(max_frames=most)
    found = track_candidate(candidate(9, 0.8), Frames(), Drift(), stop, config)
    assert (found.start_frame, found.end_frame) == expected
    assert found.score == 0.8
    assert found.boxes_xyxy[9 - found.start_frame].tolist() == [10, 10, 20, 20]
    assert (
        found.boxes_xyxy[0].tolist()
        == np.clip(np.array([10, 10, 20, 20]) + 3 * (expected[0] - 9), 0, [60, 40, 60, 40]).tolist()
    )


@pytest.mark.parametrize(
    ("second", "gap", "same"),
    [
        (track(7, [4, 6]), 2, True),  # two frames are missing
        (track(7, [4, 6]), 1, False),
        (track(5, [4, 6]), 0, True),
        (track(7, [40, 42]), 2, False),  # elsewhere
        (track(3, [0, 2, 4]), 0, True),  # begins within the first and goes on
        (track(2, [0, 2]), 2, False),  # ends within the first
    ],
)
def test_a_later_track_on_the_same_spot_continues_the_first(second, gap, same):
    assert continues(track(0, [0, 0, 0, 1, 2]), second, gap) is same


def test_joined_tracks_have_the_first_boxes_the_gap_interpolated_and_the_best_score():
    joined = join(track(0, [0, 0, 3], 0.4), track(5, [9, 12], 0.6))
    assert joined.start_frame == 0
    assert joined.boxes_xyxy[:, 0].tolist() == [0, 0, 3, 5, 7, 9, 12]
    assert joined.score == 0.6
    overlapping = join(track(0, [0, 1, 2]), track(1, [7, 8, 9, 10]))
    assert overlapping.boxes_xyxy[:, 0].tolist() == [0, 1, 2, 9, 10]


@given(st.integers(1, 9), st.integers(0, 12), st.integers(1, 9), st.integers(0, 4))
def test_joining_never_leaves_a_hole(length, start, later_length, gap):
    first, second = track(0, range(length)), track(start, range(start, start + later_length))
    if continues(first, second, gap):
        assert join(first, second).end_frame == second.end_frame


@pytest.mark.parametrize(
    ("frame", "kept", "expected"),
    [(12, 15, (13, 20)), (17, 15, (10, 17)), (15, 15, (10, 20)), (30, 15, (10, 20))],
)
def test_a_track_is_cut_to_the_side_of_the_seed(frame, kept, expected):
    boxes = np.arange(40, dtype=np.float32).reshape(10, 4)
    cut = cut_at(ResponseTrack(10, boxes, 0.5), frame, kept)
    assert (cut.start_frame, cut.end_frame) == expected
    np.testing.assert_array_equal(cut.boxes_xyxy, boxes[expected[0] - 10 : expected[1] - 10])


def test_a_score_of_zero_ranks_above_a_negative_one():
    zero, negative = (
        Candidate(i, (0.0, 0.0), 0.5, np.zeros(4, np.float32), score)
        for i, score in enumerate((0.0, -0.5))
    )
    assert choose([zero, negative], "highest") is zero
