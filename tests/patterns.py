"""Pictures and masks with known contents, for the tests of geometry."""

from __future__ import annotations

import cv2
import numpy as np

from ren_core.images import Image
from ren_core.regions import Masks


def block_labels(size_hw: tuple[int, int], blocks: int = 4) -> np.ndarray:
    """A map (H, W) of ``blocks`` x ``blocks`` rectangles, numbered row by row."""
    rows = np.arange(size_hw[0]) * blocks // size_hw[0]
    columns = np.arange(size_hw[1]) * blocks // size_hw[1]
    return rows[:, None] * blocks + columns[None, :]


def masks_of(labels: np.ndarray) -> Masks:
    """One mask per value of a label map."""
    return labels[None] == np.unique(labels)[:, None, None]


def photo(seed: int = 0, size_hw: tuple[int, int] = (40, 60)) -> Image:
    """Soft random colours."""
    noise = np.random.default_rng(seed).integers(0, 256, (*size_hw, 3)).astype(np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 3)


def noise_with_square(seed: int) -> Image:
    """Dark noise (72, 128, 3) with a bright textured square."""
    random = np.random.default_rng(seed)
    image = random.integers(0, 60, (72, 128, 3))
    image[20:44, 27:51] += random.integers(60, 190, (24, 24, 3))
    return image.astype(np.uint8)


def stripes(size_hw: tuple[int, int], width: int, axis: int) -> Image:
    """Black and white stripes of ``width`` pixels that alternate along an axis."""
    along = np.arange(size_hw[axis]) // width % 2 * 255
    grey = along[None, :] if axis == 1 else along[:, None]
    return np.repeat(np.broadcast_to(grey, size_hw)[..., None], 3, axis=2).astype(np.uint8)
