"""The six official figures of many resamples of the same queries at once.

Every figure is, to the last digit, what ``metrics.compute`` gives on the list of the resample.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vq2d.scoring.metrics import AP_THRESHOLDS, METRICS, QueryResult

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


def resampled_figures(rows: Sequence[QueryResult], counts: Integers) -> Floats:
    """The figures of resamples, each to the last digit what ``compute`` gives on its list.

    Args:
        rows: Q rows in the order of the annotation file.
        counts: (R, Q) how often each row is in each resample; every resample has a row.

    Returns:
        (R, 6) figures in the order of ``METRICS``.
    """
    ranked = ranked_places([row.score for row in rows], counts)
    lengths = counts.sum(axis=1)
    t_ious, st_ious = [row.t_iou for row in rows], [row.st_iou for row in rows]
    temporal = [average_precisions(ranked, lengths, t_ious, t) for t in AP_THRESHOLDS]
    tube = [average_precisions(ranked, lengths, st_ious, t) for t in AP_THRESHOLDS]
    successes = counts @ np.array([int(row.success) for row in rows])
    recovered = counts @ np.array([row.recovered_frames for row in rows])
    frames = counts @ np.array([row.gt_frames for row in rows])
    figures = {
        "tAP": np.mean(temporal, axis=0),
        "tAP25": temporal[0],
        "stAP": np.mean(tube, axis=0),
        "stAP25": tube[0],
        "success": 100.0 * (successes / lengths),
        "recovery": 100.0 * recovered / frames,
    }
    return np.stack([figures[name] for name in METRICS], axis=1)


def ranked_places(scores: Sequence[float], counts: Integers) -> Integers:
    """Which row stands at which rank of each resample.

    Args:
        scores: (Q,) what the rows are ranked by.
        counts: (R, Q) how often each row is in each resample.

    Returns:
        (R, L) rows 0..Q-1, the best first, L being the length of the longest resample; shorter ones
        are filled up with Q.

    >>> ranked_places([0.1, 0.9], np.array([[2, 1], [0, 1]]))
    array([[1, 0, 0],
           [1, 2, 2]])
    """
    # The official order (see metrics.average_precision); copies of a row stay side by side.
    order = np.argsort(np.asarray(scores, np.float64), kind="stable")[::-1]
    lengths = counts.sum(axis=1)
    copies = np.column_stack([counts[:, order], lengths.max() - lengths])
    places = np.tile(np.append(order, len(scores)), len(counts))
    return np.repeat(places, copies.ravel()).reshape(len(counts), -1)


def average_precisions(
    ranked: Integers, lengths: Integers, ious: Sequence[float], threshold: float
) -> Floats:
    """``metrics.average_precision`` of many resamples at once, to the last digit.

    Args:
        ranked: (R, L) rows 0..Q-1 by rank, filled up with Q; see ``ranked_places``.
        lengths: (R,) number of rows of each resample, without the filling.
        ious: (Q,) overlap of each row with its truth; NaN counts as a hit, as officially.
        threshold: Overlap from which on a row is a hit.

    Returns:
        (R,) average precision in 0..1.
    """
    hits = np.append(~(np.asarray(ious, np.float64) < threshold), False)[ranked]
    precision = np.cumsum(hits, axis=1) / np.arange(1, hits.shape[1] + 1)
    envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]

    # NumPy's sum rounds by the number of its terms, so equal numbers of hits are summed together.
    sums = np.zeros(len(hits))
    numbers = hits.sum(axis=1)
    for number in np.unique(numbers):
        alike = numbers == number
        sums[alike] = envelope[alike][hits[alike]].reshape(alike.sum(), number).sum(axis=1)
    return sums / lengths
