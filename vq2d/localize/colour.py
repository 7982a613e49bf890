"""Colours around points, as vectors whose cosine says how alike two places are coloured.

Encoders are trained to overlook colour: a small one takes a recoloured twin for the thing itself.
"""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from ren_core.geometry import Mask
from ren_core.images import Image

SIDE = 96
"""Pixels of the square in which colours are looked at: fine enough for a prompt's surroundings."""
WINDOW = 11
"""Side of a point's surroundings, in pixels of that square."""
LIGHTNESS = np.array([40.0, 128.0, 215.0], np.float32)
"""Centres of the cells on the axis L of 8-bit Lab: few, since light changes more than colour."""
CHROMA = np.array([-48.0, -24.0, -8.0, 8.0, 24.0, 48.0], np.float32)
"""Centres of the cells on the axes a and b, from grey."""
SPREAD = (60.0, 12.0)
"""Width of a cell on L, and on a and b: cells overlap, so that small changes cost little."""
DIM = len(LIGHTNESS) * len(CHROMA) ** 2
"""Cells, and so the length of a vector."""


@cache
def _memberships() -> NDArray[np.float32]:
    """Share (16 * 32 * 32, DIM) of every coarse Lab colour in each of the cells; they sum to 1."""
    light = np.arange(16, dtype=np.float32) * 16 + 8
    chroma = np.arange(32, dtype=np.float32) * 8 + 4 - 128
    of_light = np.exp(-((light[:, None] - LIGHTNESS) ** 2) / (2 * SPREAD[0] ** 2))
    of_chroma = np.exp(-((chroma[:, None] - CHROMA) ** 2) / (2 * SPREAD[1] ** 2)) + 1e-9
    of_light /= of_light.sum(1, keepdims=True)
    of_chroma /= of_chroma.sum(1, keepdims=True)
    cells = np.einsum("li,aj,bk->labijk", of_light, of_chroma, of_chroma)
    return cells.reshape(-1, DIM).astype(np.float32)


def colour_vectors(image: Image, points_yx: NDArray[np.int64], side: int) -> NDArray[np.float32]:
    """Unit vectors (N, DIM): square roots of the colour histogram around each point.

    Their cosine is the Bhattacharyya coefficient of the two histograms, 0..1.

    Args:
        image: (H, W, 3) RGB.
        points_yx: (N, 2) pixels of the image squashed to a square.
        side: Of that square.
    """
    small = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    lab = cv2.cvtColor(small, cv2.COLOR_RGB2LAB)
    cells = _memberships().take(_coarse(lab), axis=0).reshape(SIDE, -1)

    # sums over windows: first of their rows, then of their columns, each needed one once
    centre = ((points_yx + 0.5) * SIDE / side).astype(int)
    rows, row_of = _spans(centre[:, 0])
    columns, column_of = _spans(centre[:, 1])
    of_rows = np.concatenate([cv2.reduce(cells[own], 0, cv2.REDUCE_SUM) for own in rows])
    holds = np.zeros((len(columns), SIDE), np.float32)
    for number, own in enumerate(columns):
        holds[number, own] = 1
    total = (holds @ of_rows.reshape(len(rows), SIDE, DIM))[row_of, column_of]
    root = np.sqrt(total)
    vectors: NDArray[np.float32] = root / np.linalg.norm(root, axis=1, keepdims=True)
    return vectors


def _spans(centres: NDArray[np.int64]) -> tuple[list[slice], NDArray[np.int64]]:
    """The pixels of an axis that the K different windows hold, and the window of each centre."""
    different, index = np.unique(centres, return_inverse=True)
    reach = WINDOW // 2
    return [slice(max(c - reach, 0), c + reach + 1) for c in different], index


def _coarse(lab: NDArray[np.uint8]) -> NDArray[np.int64]:
    """The number of the coarse colour of each pixel (..., 3) of 8-bit Lab."""
    light, a, b = (lab[..., i].astype(np.int64) for i in range(3))
    return ((light >> 4) * 32 + (a >> 3)) * 32 + (b >> 3)


def colour_histogram(image: Image, mask: Mask) -> NDArray[np.float32]:
    """Share (DIM,) of each cell in the colours of the masked part; zeros for an empty mask.

    Args:
        image: (H, W, 3) RGB.
        mask: (H, W).
    """
    y, x = np.nonzero(mask)
    if len(y) == 0:
        return np.zeros(DIM, np.float32)
    part = image[y.min() : y.max() + 1, x.min() : x.max() + 1]
    lab = cv2.cvtColor(np.ascontiguousarray(part), cv2.COLOR_RGB2LAB)
    lab = lab[mask[y.min() : y.max() + 1, x.min() : x.max() + 1]]
    counts = np.bincount(_coarse(lab), minlength=16 * 32 * 32).astype(np.float32)
    shares = counts @ _memberships() / len(lab)
    return shares.astype(np.float32)
