"""Affine maps of images and masks, exact to the pixel."""

from __future__ import annotations

import math

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from ren_core.images import Image
from ren_core.regions import Masks

Matrix = NDArray[np.float64]
"""Affine map (3, 3) of homogeneous points (x, y, 1)."""


def squash_matrix(size_hw: tuple[int, int], size: int) -> Matrix:
    """Map (3, 3) from an image of ``size_hw`` to a square of ``size`` pixels."""
    return np.diag([size / size_hw[1], size / size_hw[0], 1.0])


def shift_matrix(x: float, y: float) -> Matrix:
    """Map (3, 3) that moves every point by (x, y) pixels."""
    return np.array([[1, 0, x], [0, 1, y], [0, 0, 1]], np.float64)


def warp_image(image: Image, matrix: Matrix, size: int) -> Image:
    """The view (size, size, 3) of an image (H, W, 3); black where the image does not reach.

    Where the map shrinks the image, details too fine for the view are averaged away first, so that
    nothing aliases.
    """
    small, rest = _shrink(image, matrix)
    warped: Image = cv2.warpAffine(
        small,
        _cv_matrix(rest),
        (size, size),
        flags=cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REPLICATE,  # the image's edge shall not fade to black
    )
    everywhere = np.ones((1, *image.shape[:2]), bool)
    warped[~warp_masks(everywhere, matrix, size)[0]] = 0
    return warped


def warp_masks(masks: Masks, matrix: Matrix, size: int) -> Masks:
    """Masks (M, size, size) of masks (M, H, W): every pixel takes its nearest source pixel."""
    H, W = masks.shape[1:]
    centre = np.arange(size) + 0.5
    grid = np.stack(np.meshgrid(centre, centre, indexing="xy"), axis=-1)  # (size, size, 2) = x, y
    inverse = np.linalg.inv(matrix)
    x, y = np.moveaxis(grid @ inverse[:2, :2].T + inverse[:2, 2], -1, 0)
    column, row = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
    inside = (column >= 0) & (column < W) & (row >= 0) & (row < H)
    warped: Masks = masks[:, row.clip(0, H - 1), column.clip(0, W - 1)] & inside
    return warped


def _shrink(image: Image, matrix: Matrix) -> tuple[Image, Matrix]:
    """The image resized along each axis by as much as the map shrinks it, and the remaining map.

    Resizing is bilinear with antialiasing, as in inference. Squashing a wide image shrinks its two
    axes differently, so one blur for both would alias or lose detail.
    """
    H, W = image.shape[:2]
    extent_x, extent_y = np.linalg.norm(np.linalg.inv(matrix[:2, :2]), axis=1).clip(min=1)
    size_hw = (math.ceil(H / extent_y - 1e-6), math.ceil(W / extent_x - 1e-6))
    if size_hw == (H, W):
        return image, matrix
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None]
    small = F.interpolate(pixels, size_hw, mode="bilinear", align_corners=False, antialias=True)
    return (
        np.ascontiguousarray(small[0].permute(1, 2, 0).numpy()),
        matrix @ np.diag([W / size_hw[1], H / size_hw[0], 1.0]),
    )


def _cv_matrix(matrix: Matrix) -> Matrix:
    """The same map for OpenCV, whose pixel centres have whole coordinates."""
    return (shift_matrix(-0.5, -0.5) @ matrix @ shift_matrix(0.5, 0.5))[:2]
