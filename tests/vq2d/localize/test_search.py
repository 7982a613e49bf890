from __future__ import annotations

import numpy as np
import pytest
import torch

from vq2d.localize.chunks import Similarities
from vq2d.localize.search import (
    SearchConfig,
    find_candidates,
    score_frames,
    with_own_occurrence,
)
from vq2d.types import FrameScores


def scores(values, stride=1):
    values = np.array(values, np.float32)
    frames = np.arange(len(values), dtype=np.int32) * stride
    points = np.stack([frames * 10.0, frames * 1.0], axis=1).astype(np.float32)
    return FrameScores(frames, values, points)


class Chunk:
    """Tokens in memory with a chunk's face."""

    def __init__(self, frame_idx, vectors):
        self.frame_idx = np.array(frame_idx, np.int32)
        self._vectors = torch.tensor(vectors, dtype=torch.float32)
        self.points_xy = np.arange(2 * len(vectors), dtype=np.float32).reshape(-1, 2)
        self.first_frame, self.last_frame = frame_idx[0], frame_idx[-1]

    def similarities(self, query_vectors):
        own = (self._vectors @ query_vectors.T).amax(dim=1).numpy()
        return Similarities(own, np.minimum(own + np.float32(0.2), 1))


def test_the_best_token_of_each_frame_wins():
    east, north, between = [1, 0], [0, 1], [0.6, 0.8]
    chunks = [Chunk([0, 0, 1, 1], [north, between, east, east]), Chunk([2, 3], [north, east])]
    found = score_frames(chunks, torch.tensor([[1.0, 0.0]]), 0, 3, own_look=1.0)
    assert found.frame_idx.tolist() == [0, 1, 2]
    assert found.similarity.tolist() == pytest.approx([0.6, 1.0, 0.0], abs=1e-3)
    assert found.points_xy.tolist() == [[2, 3], [4, 5], [0, 1]]  # the first of two equals
    two = score_frames(chunks, torch.tensor([[1.0, 0.0], [0.0, 1.0]]), 1, 9, own_look=1.0)
    assert two.frame_idx.tolist() == [1, 2, 3]
    assert two.similarity.tolist() == pytest.approx([1, 1, 1])
    half = score_frames(chunks, torch.tensor([[1.0, 0.0]]), 0, 3, own_look=0.5)
    assert half.similarity.tolist() == pytest.approx([0.7, 1.0, 0.1])  # of the sight and its track


def test_nothing_searched_gives_nothing():
    empty = score_frames([], torch.ones((1, 2)), 0, 5, own_look=0.5)
    assert find_candidates(empty, SearchConfig()) == []
    assert with_own_occurrence(empty, 3, 0.5, window=(0, 5)) is empty


def test_peaks_suppress_their_neighbours_relative_to_themselves():
    found = find_candidates(
        scores([0.1, 0.75, 0.9, 0.74, 0.5, 0.7, 0.71, 0.2]), SearchConfig(floor=0.0, top_k=3)
    )
    # 0.9 takes its sides above 0.72, 0.71 takes 0.70; the flank at 0.5 is left as a peak
    assert [c.frame_idx for c in found] == [2, 4, 6]
    assert found[0].point_xy == (20.0, 2.0)


def test_top_k_and_floor():
    values = [0.9, 0.1, 0.8, 0.1, 0.7, 0.1]
    assert [c.frame_idx for c in find_candidates(scores(values), SearchConfig(floor=0.75))] == [
        0,
        2,
    ]
    kept = find_candidates(scores(values), SearchConfig(floor=0.0, top_k=1))
    assert [c.frame_idx for c in kept] == [0]
    low = find_candidates(scores([0.2, 0.1, 0.3]), SearchConfig(floor=0.7))
    assert [c.frame_idx for c in low] == [2]  # the floor is lowered to the best


def test_the_querys_own_occurrence_is_no_answer():
    values = [0.9, 0.2, 0.65, 0.95, 0.7, 0.3, 0.85]
    found = with_own_occurrence(scores(values), 3, 0.6, window=(0, 7))
    assert found.own == range(2, 5)
    assert found.answerable.tolist() == pytest.approx([0.9, 0.2, 0, 0, 0, 0.3, 0.85])
    assert [c.frame_idx for c in find_candidates(found, SearchConfig(floor=0.8))] == [0, 6]
    assert with_own_occurrence(scores(values), 99, 0.6, window=(0, 7)).own is None
    strided = with_own_occurrence(scores(values, stride=2), 7, 0.6, window=(0, 14))
    assert strided.own == range(4, 9)  # 7 lies between frames 6 and 8


def test_a_similarity_of_zero_beside_it_is_not_the_querys_own_occurrence():
    found = with_own_occurrence(scores([0.5, 0.0, 0.9, 0.4]), 2, 0.6, window=(0, 4))
    assert found.own == range(2, 3)
    assert found.is_own.tolist() == [False, False, True, False]


@pytest.mark.parametrize(
    ("crop", "window", "own"),
    [
        (13, (0, 14), [12]),  # after the last sampled frame, inside the window
        (14, (0, 14), []),
        (11, (11, 14), [12]),  # before the first sampled frame, inside the window
        (10, (11, 14), []),
    ],
)
def test_the_window_decides_and_not_the_sampled_frames(crop, window, own):
    frames = np.arange(0, 14, 2, dtype=np.int32)
    frames = frames[frames >= window[0]]
    low = FrameScores(frames, np.full(len(frames), 0.5, np.float32), np.zeros((len(frames), 2)))
    found = with_own_occurrence(low, crop, 0.6, window=window)
    assert frames[found.is_own].tolist() == own
