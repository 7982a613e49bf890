"""Figures of resamples, digit for digit against ``compute`` on the list of each."""

import math

import numpy as np
import pytest

from tests.query_results import row
from vq2d.scoring.metrics import METRICS, average_precision, compute
from vq2d.scoring.resampled import average_precisions, ranked_places, resampled_figures
from vq2d.types import QueryKey


def random_rows(number, rng):
    """Rows with equal scores, scores and overlaps that are NaN, and overlaps on the thresholds."""
    overlaps = np.array([0.0, 0.25, 0.5, 0.95, math.nan])
    either = rng.random((2, number)) < 0.5
    t_ious, st_ious = np.where(either, rng.random((2, number)), rng.choice(overlaps, (2, number)))
    scores = rng.choice([0.1, 0.7, 0.7, math.nan, *rng.random(number)], number)
    return [
        row(
            key=QueryKey(0, i // 3, 0, str(i)),
            score=float(scores[i]),
            t_iou=float(t_ious[i]),
            st_iou=float(st_ious[i]),
            success=bool(st_ious[i] >= 0.05),
            recovered_frames=int(rng.integers(0, 5)),
            gt_frames=int(rng.integers(5, 40)),
        )
        for i in range(number)
    ]


def resample(rows, counts):
    """The list of a resample: file order, copies side by side."""
    return [row for row, count in zip(rows, counts, strict=True) for _ in range(count)]


@pytest.mark.parametrize("number", [1, 2, 7, 60, 700])
@pytest.mark.parametrize("same_length", [True, False])
def test_figures_are_those_of_compute_to_the_last_digit(number, same_length):
    rng = np.random.default_rng(number)
    rows = random_rows(number, rng)
    if same_length:
        counts = rng.multinomial(number, np.full(number, 1 / number), size=25)
    else:
        counts = rng.integers(0, 4, (25, number))
        counts[:, -1] += 1
    figures = resampled_figures(rows, counts)
    wanted = [compute(resample(rows, its)) for its in counts]
    assert figures.tolist() == [[its[name] for name in METRICS] for its in wanted]


def test_every_query_once_gives_the_official_figures():
    rows = random_rows(50, np.random.default_rng(0))
    (figures,) = resampled_figures(rows, np.ones((1, 50), np.int64)).tolist()
    assert figures == list(compute(rows).values())


def test_average_precision_of_shorter_and_longer_resamples():
    scores, ious = [0.9, 0.5, 0.5], [0.0, 1.0, 0.0]
    counts = np.array([[1, 1, 1], [0, 2, 0], [1, 0, 0], [0, 1, 3]])
    found = average_precisions(ranked_places(scores, counts), counts.sum(axis=1), ious, 0.5)
    wanted = [
        average_precision(np.repeat(scores, its), np.repeat(ious, its), 0.5) for its in counts
    ]
    assert found.tolist() == wanted == [1 / 9, 1, 0, 1 / 16]


def test_of_equal_scores_the_later_query_ranks_first_with_all_its_copies():
    places = ranked_places([1.0, 1.0, math.nan], np.array([[2, 1, 0], [1, 1, 1]]))
    assert places.tolist() == [[1, 0, 0], [2, 1, 0]]
