"""Training views for segmentation: the image and its label map under one exact map."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from eval.confusion import VOID, Labels
from eval.describe import Image
from eval.segmentation_config import HeadConfig
from ren_core.training.views import Matrix, squash_matrix, warp_image

ATTEMPTS = 10
AREA, RATIO = (0.08, 1.0), (3 / 4, 4 / 3)  # of resized crops
SCALE = (0.5, 2.0)  # of scaled crops
ONE_CLASS = 0.75  # a scaled crop is drawn again if one class covers more of its labelled pixels


def training_view(
    image: Image, labels: Labels, config: HeadConfig, size: int, rng: np.random.Generator
) -> tuple[Image, Labels]:
    """Draw one view (size, size, 3) and its labels (size, size); void outside the image.

    Args:
        image: (H, W, 3) uint8 RGB.
        labels: (H, W).
        config: Which augmentation, and the probability of the mirror image.
        size: Side R of the view.
        rng: Decides everything.
    """
    size_hw = (image.shape[0], image.shape[1])
    if config.augmentation == "scale-crop":
        matrix = scaled_crop(labels, size, rng)
    elif config.augmentation == "resized-crop":
        matrix = resized_crop(size_hw, size, rng)
    else:
        matrix = squash_matrix(size_hw, size)
    if rng.random() < config.flip:
        matrix = np.array([[-1.0, 0, size], [0, 1, 0], [0, 0, 1]]) @ matrix
    view = warp_image(image, matrix, size)
    if config.augmentation == "scale-crop":
        view = distort_colours(view, rng)
    return view, warp_labels(labels, matrix, size)


def resized_crop(size_hw: tuple[int, int], size: int, rng: np.random.Generator) -> Matrix:
    """Map (3, 3) that squashes a random part, 8 to 100 % of the area and 3:4 to 4:3, to a square.

    If no such part fits in ten attempts, the largest central one is taken.
    """
    H, W = size_hw
    low, high = math.log(RATIO[0]), math.log(RATIO[1])
    for _ in range(ATTEMPTS):
        area = H * W * rng.uniform(*AREA)
        ratio = math.exp(rng.uniform(low, high))
        w, h = math.sqrt(area * ratio), math.sqrt(area / ratio)
        if w <= W and h <= H:
            return _window(rng.uniform(0, W - w), rng.uniform(0, H - h), (w, h), size)
    w = min(W, H * RATIO[1])
    h = min(H, W / RATIO[0])
    return _window((W - w) / 2, (H - h) / 2, (w, h), size)


def scaled_crop(labels: Labels, size: int, rng: np.random.Generator) -> Matrix:
    """Map (3, 3) of a square of ``size`` from the image, its short side scaled 0.5 to 2 times that.

    It is drawn again, up to ten times, where one class covers more than 75 % of it. Images that are
    smaller than the square leave its right and lower parts empty.
    """
    H, W = labels.shape
    side = min(H, W) / rng.uniform(*SCALE)  # of the square, in pixels of the image
    for _ in range(ATTEMPTS):
        left, top = rng.uniform(0, max(0.0, W - side)), rng.uniform(0, max(0.0, H - side))
        part = labels[int(top) : math.ceil(top + side), int(left) : math.ceil(left + side)]
        known = np.bincount(part[part != VOID])
        if known.size and np.count_nonzero(known) > 1 and known.max() < ONE_CLASS * known.sum():
            break
    return _window(left, top, (side, side), size)


def warp_labels(labels: Labels, matrix: Matrix, size: int) -> Labels:
    """Labels (size, size) under a map of the image: nearest pixel, void outside."""
    centre = np.arange(size) + 0.5
    x, y = np.meshgrid(centre, centre, indexing="xy")
    inverse = np.linalg.inv(matrix)  # these maps neither rotate nor shear
    column = np.floor(x * inverse[0, 0] + inverse[0, 2]).astype(np.int64)
    row = np.floor(y * inverse[1, 1] + inverse[1, 2]).astype(np.int64)
    H, W = labels.shape
    inside = (column >= 0) & (column < W) & (row >= 0) & (row < H)
    warped = labels[row.clip(0, H - 1), column.clip(0, W - 1)]
    return np.where(inside, warped, VOID).astype(np.uint8)


def distort_colours(image: Image, rng: np.random.Generator) -> Image:
    """Brightness ±32, contrast and saturation 0.5 to 1.5 times, hue ±18°, each every second time.

    Contrast comes before or after the other two, by chance.
    """
    pixels = image.astype(np.float32)
    if rng.random() < 0.5:
        pixels += np.float32(rng.uniform(-32, 32))
    contrast = np.float32(rng.uniform(0.5, 1.5) if rng.random() < 0.5 else 1)
    first = rng.random() < 0.5
    if first:
        pixels *= contrast
    hsv = cv2.cvtColor(pixels.clip(0, 255) / 255, cv2.COLOR_RGB2HSV)
    if rng.random() < 0.5:
        hsv[..., 1] = (hsv[..., 1] * rng.uniform(0.5, 1.5)).clip(0, 1)
    if rng.random() < 0.5:
        hsv[..., 0] = (hsv[..., 0] + rng.uniform(-18, 18)) % 360
    pixels = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB) * 255
    if not first:
        pixels *= contrast
    distorted: Image = pixels.clip(0, 255).round().astype(np.uint8)
    return distorted


def _window(left: float, top: float, size_wh: tuple[float, float], size: int) -> Matrix:
    """Map (3, 3) of a window of the image to a square of ``size`` pixels."""
    x, y = size / size_wh[0], size / size_wh[1]
    matrix: NDArray[np.float64] = np.array([[x, 0, -left * x], [0, y, -top * y], [0, 0, 1]])
    return matrix
