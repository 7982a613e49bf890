"""Metrics of one ranked list: a score and a truth per item."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]
Truth = NDArray[np.bool_]


def average_precision(scores: Scores, relevant: Truth) -> float:
    """Area under the precision-recall steps, items of equal score taken together; NaN without hits.

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

    >>> r_precision(np.array([0.9, 0.5, -0.1]), np.array([True, False, True]))
    0.5
    """
    R = int(relevant.sum())
    if R == 0:
        return float("nan")
    return float(relevant[np.argsort(-scores, kind="stable")[:R]].mean())


def precision_at(scores: Scores, relevant: Truth, k: int) -> float:
    """Hits among the first ``k``, always divided by ``k``; NaN if nothing is relevant.

    >>> precision_at(np.array([0.9, 0.5, -0.1]), np.array([True, False, True]), 4)
    0.5
    """
    if not relevant.any():
        return float("nan")
    return float(relevant[np.argsort(-scores, kind="stable")[:k]].sum() / k)


def roc_auc(scores: Scores, relevant: Truth) -> float:
    """Chance that a relevant item scores above another one, ties half; NaN if a class is empty.

    >>> roc_auc(np.array([0.9, 0.5, -0.1]), np.array([True, False, True]))
    0.5
    """
    positive, negative = scores[relevant], scores[~relevant]
    if not len(positive) or not len(negative):
        return float("nan")
    above = (positive[:, None] > negative).mean()
    equal = (positive[:, None] == negative).mean()
    return float(above + equal / 2)
