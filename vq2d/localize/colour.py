"""Colours around points, as vectors whose cosine says how alike two places are coloured.

Encoders are trained to overlook colour: a small one takes a recoloured twin for the thing itself.
"""

from __future__ import annotations

from functools import cache, lru_cache

import cv2
import numpy as np
import torch
import torch.nn.functional as F
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
COARSE = 16 * 32 * 32
"""Coarse colours of 8-bit Lab: four bits of L, five of a and of b."""
DIM = len(LIGHTNESS) * len(CHROMA) ** 2
"""Cells, and so the length of a vector."""


@cache
def _memberships() -> NDArray[np.float32]:
    """Share (COARSE, DIM) of every coarse Lab colour in each of the cells; they sum to 1."""
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
    centre = ((points_yx + 0.5) * SIDE / side).astype(np.int64)
    present, counts = _histograms(_coarse(lab).ravel(), centre)
    shares = torch.from_numpy(counts) @ torch.from_numpy(_memberships()[present])
    vectors: NDArray[np.float32] = F.normalize(shares.sqrt(), dim=1).numpy()
    return vectors


def _histograms(
    colours: NDArray[np.int64], centre: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The K coarse colours of a square, and how often each is around each centre, (N, K).

    Args:
        colours: (SIDE * SIDE,) coarse colours.
        centre: (N, 2) row and column.
    """
    present = np.flatnonzero(np.bincount(colours, minlength=COARSE))
    N, K = len(centre), len(present)
    number = np.zeros(COARSE, np.int64)
    number[present] = np.arange(K)
    numbers = np.append(number[colours], K)  # K: outside the square
    around = _pixels_around(centre.tobytes())
    own = numbers[around] + np.arange(N)[:, None] * (K + 1)
    counts = np.bincount(own.ravel(), minlength=N * (K + 1)).reshape(N, K + 1)
    return present, counts[:, :K].astype(np.float32)


@lru_cache(maxsize=64)
def _pixels_around(centres: bytes) -> NDArray[np.int64]:
    """The pixels (N, WINDOW * WINDOW) around centres (N, 2); SIDE * SIDE: outside the square.

    The prompts of a grid are the same in every window, so that this is made once.
    """
    centre = np.frombuffer(centres, np.int64).reshape(-1, 2)
    reach = np.arange(-(WINDOW // 2), WINDOW // 2 + 1)
    rows, columns = centre[:, :1] + reach, centre[:, 1:] + reach
    inside = _inside(rows)[:, :, None] & _inside(columns)[:, None]
    pixels = np.where(inside, rows[:, :, None] * SIDE + columns[:, None], SIDE * SIDE)
    return pixels.reshape(len(centre), -1)


def _inside(places: NDArray[np.int64]) -> NDArray[np.bool_]:
    return (places >= 0) & (places < SIDE)


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
    counts = np.bincount(_coarse(lab), minlength=COARSE)
    present = np.flatnonzero(counts)
    shares = counts[present].astype(np.float32) @ _memberships()[present] / len(lab)
    return shares.astype(np.float32)
