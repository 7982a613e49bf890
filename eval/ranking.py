"""Metrics of one ranked list: a score and a truth per item."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]
Truth = NDArray[np.bool_]


def average_precision(scores: Scores, relevant: Truth) -> float:
    """Area under the precision-recall steps; ties are one step; NaN if nothing is relevant.

    >>> average_precision(np.array([0.9, 0.5, -0.1]), np.array([True, False, True]))
    0.8333333333333333
    """
    if not relevant.any():
        return float("nan")
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(relevant[order])
    last_of_tie = np.append(np.diff(scores[order]) != 0, True)
    hits, ranks = hits[last_of_tie], np.flatnonzero(last_of_tie) + 1
    gained = np.diff(hits, prepend=0)
    return float((gained * hits / ranks).sum() / hits[-1])


def r_precision(scores: Scores, relevant: Truth) -> float:
    """Share of relevant items among the first R, where R is how many there are; NaN for none.

    Ties as in ``precision_at``.

    >>> r_precision(np.array([0.9, 0.5, -0.1]), np.array([True, False, True]))
    0.5
    """
    return precision_at(scores, relevant, int(relevant.sum()))


def precision_at(scores: Scores, relevant: Truth, k: int) -> float:
    """Hits among the first ``k``, always divided by ``k``; NaN if nothing is relevant.

    If a tie reaches over rank ``k``: the expected value over all orders of the tied items.

    >>> precision_at(np.array([0.9, 0.5, -0.1]), np.array([True, False, True]), 4)
    0.5
    >>> precision_at(np.array([0.9, 0.5, 0.5]), np.array([False, False, True]), 2)
    0.25
    """
    if not relevant.any():
        return float("nan")
    if k >= len(scores):
        return float(relevant.sum() / k)
    last = np.partition(-scores, k - 1)[k - 1]  # the negated score of rank k
    above, equal = -scores < last, -scores == last
    places = k - int(above.sum())
    return float((relevant[above].sum() + places * relevant[equal].mean()) / k)


def roc_auc(scores: Scores, relevant: Truth) -> float:
    """Probability that a relevant item scores above an irrelevant one, a tie counting half.

    NaN if all items are relevant, or none.

    >>> roc_auc(np.array([0.9, 0.5, -0.1]), np.array([True, False, True]))
    0.5
    """
    positive, negative = scores[relevant], scores[~relevant]
    if not len(positive) or not len(negative):
        return float("nan")
    above = (positive[:, None] > negative).mean()
    equal = (positive[:, None] == negative).mean()
    return float(above + equal / 2)
