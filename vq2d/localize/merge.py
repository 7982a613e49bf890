"""Tokens of one frame that show one thing: its crops overlap, and neighbouring prompts agree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

Floats = NDArray[np.float32]
Integers = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Merged:
    """The things of a frame.

    Attributes:
        vectors: (K, D) normalised mean of each one's tokens.
        points_xy: (K, 2) place of the token nearest to their middle, frame pixels.
        counts: (K,) tokens that it is made of.
    """

    vectors: Floats
    points_xy: Floats
    counts: Integers


def merge_in_frame(vectors: Floats, points_xy: Floats, near: float, similarity: float) -> Merged:
    """Connected components of tokens that are alike and near each other.

    Args:
        vectors: (N, D) unit vectors.
        points_xy: (N, 2) frame pixels.
        near: Most pixels between two linked tokens, in x and in y.
        similarity: Least cosine of two linked tokens.
    """
    likeness = vectors @ vectors.T
    rows, columns = alike_and_near(likeness, similarity, points_xy, points_xy, near)
    links = coo_array((np.ones(len(rows), bool), (rows, columns)), likeness.shape)
    count, label = connected_components(links, directed=False)
    counts = np.bincount(label, minlength=count).astype(np.int32)
    middle = sums(points_xy, label, count) / counts[:, None]
    off = np.abs(points_xy - middle[label]).max(axis=1)
    innermost = first_of_each(label, np.lexsort((off, label)))
    return Merged(unit(sums(vectors, label, count)), points_xy[innermost], counts)


def alike_and_near(
    likeness: Floats, least: float, points_xy: Floats, others_xy: Floats, near: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows and columns (L,) of the pairs that are alike and near each other.

    Args:
        likeness: (N, M) cosines.
        least: Of a pair that is alike.
        points_xy: (N, 2) places of the rows.
        others_xy: (M, 2) places of the columns.
        near: Most distance of a pair that is near, in x and in y.
    """
    rows, columns = np.nonzero(likeness >= least)  # few: so places are compared for these alone
    apart = np.abs(points_xy[rows] - others_xy[columns])
    is_near = (apart[:, 0] <= near) & (apart[:, 1] <= near)
    return rows[is_near], columns[is_near]


def sums(vectors: Floats, label: Integers, count: int) -> Floats:
    """(count, D) sum of the vectors (N, D) of each label (N,)."""
    ones = np.ones(len(label), np.float32)
    members = coo_array((ones, (label, np.arange(len(label)))), (count, len(label)))
    found: Floats = members @ vectors
    return found


def first_of_each(label: Integers, order: NDArray[np.int64]) -> NDArray[np.int64]:
    """The first index of each label in an order that has the labels ascending.

    >>> first_of_each(np.array([1, 0, 1]), np.array([1, 2, 0])).tolist()
    [1, 2]
    """
    first: NDArray[np.int64] = order[np.unique(label[order], return_index=True)[1]]
    return first


def unit(vectors: Floats) -> Floats:
    """Vectors (N, D) of length 1; those of length 0 stay."""
    scaled: Floats = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    return scaled.astype(np.float32)
