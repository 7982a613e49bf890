"""Boxes and masks: areas, overlaps, conversions.

One box convention everywhere inside: ``xyxy``, float32, continuous pixels, half-open
(``width = x2 - x1``). A mask pixel (row y, column x) covers the square [x, x+1) x [y, y+1).
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

Boxes = NDArray[np.float32]
Mask = NDArray[np.bool_]


def box_area(boxes_xyxy: Boxes) -> NDArray[np.float32]:
    """Area (..., ) of boxes (..., 4); inverted sides count as zero.

    >>> float(box_area(np.array([1, 1, 4, 3], np.float32)))
    6.0
    """
    sides = np.clip(boxes_xyxy[..., 2:] - boxes_xyxy[..., :2], 0, None)
    area: NDArray[np.float32] = sides[..., 0] * sides[..., 1]
    return area


def box_iou(a_xyxy: Boxes, b_xyxy: Boxes) -> NDArray[np.float32]:
    """Intersection over union of boxes that broadcast against each other, (..., 4) each.

    Two empty boxes overlap by 0, never NaN.

    >>> a = np.array([0, 0, 2, 2], np.float32); b = np.array([1, 0, 3, 2], np.float32)
    >>> round(float(box_iou(a, b)), 3)
    0.333
    """
    low = np.maximum(a_xyxy[..., :2], b_xyxy[..., :2])
    high = np.minimum(a_xyxy[..., 2:], b_xyxy[..., 2:])
    overlap = box_area(np.concatenate([low, high], axis=-1))
    union = box_area(a_xyxy) + box_area(b_xyxy) - overlap
    iou: NDArray[np.float32] = np.divide(
        overlap, union, out=np.zeros_like(overlap), where=union > 0
    )
    return iou


def clip_boxes(boxes_xyxy: Boxes, size_hw: tuple[int, int]) -> Boxes:
    """Boxes (..., 4) cut to an image of ``size_hw`` = (height, width) pixels."""
    H, W = size_hw
    clipped: Boxes = np.clip(boxes_xyxy, 0, np.array([W, H, W, H], np.float32)).astype(np.float32)
    return clipped


def expand_box(box_xyxy: Boxes, factor: float) -> Boxes:
    """The box with both sides multiplied by ``factor`` about its centre; may leave the image."""
    centre = (box_xyxy[:2] + box_xyxy[2:]) / 2
    half = (box_xyxy[2:] - box_xyxy[:2]) / 2 * factor
    return np.concatenate([centre - half, centre + half]).astype(np.float32)


def mask_to_box(mask: Mask) -> Boxes | None:
    """Half-open box (4,) around the true pixels of a mask (H, W), or None if it is empty.

    >>> m = np.zeros((4, 5), bool); m[1:3, 2] = True
    >>> mask_to_box(m).tolist()
    [2.0, 1.0, 3.0, 3.0]
    """
    rows = np.flatnonzero(mask.any(axis=1))
    if rows.size == 0:
        return None
    columns = np.flatnonzero(mask.any(axis=0))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], np.float32)


def box_to_mask(box_xyxy: Boxes, size_hw: tuple[int, int]) -> Mask:
    """Mask (H, W) of a box (4,), cut to the image and rounded to whole pixels.

    >>> box_to_mask(np.array([1, -2, 2.6, 1], np.float32), (2, 4)).astype(int).tolist()
    [[0, 1, 1, 0], [0, 0, 0, 0]]
    """
    mask = np.zeros(size_hw, bool)
    x1, y1, x2, y2 = clip_boxes(box_xyxy, size_hw).round().astype(int)
    mask[y1:y2, x1:x2] = True
    return mask


def window_about(
    center_xy: Sequence[float] | NDArray[np.floating],
    window_hw: tuple[int, int],
    size_hw: tuple[int, int],
) -> tuple[int, int]:
    """Left column and top row of a window about a point, shifted to lie inside an image.

    Args:
        center_xy: The point.
        window_hw: Height and width of the window, no more than those of the image.
        size_hw: Of the image.

    >>> window_about((9, 2), (4, 4), (8, 10))
    (6, 0)
    """
    left, top = (
        int(np.clip(round(float(middle) - extent / 2), 0, length - extent))
        for middle, extent, length in zip(center_xy, window_hw[::-1], size_hw[::-1], strict=True)
    )
    return left, top


def square_window(
    center_xy: Sequence[float] | NDArray[np.floating], side: float, size_hw: tuple[int, int]
) -> tuple[slice, slice]:
    """Rows and columns of a square window about a point, moved and cut to lie inside an image.

    >>> square_window((9, 2), 4, (8, 10))
    (slice(0, 4, None), slice(6, 10, None))
    """
    height, width = (min(max(round(side), 1), length) for length in size_hw)
    left, top = window_about(center_xy, (height, width), size_hw)
    return slice(top, top + height), slice(left, left + width)


def largest_component(mask: Mask) -> Mask:
    """The largest 8-connected part of a mask (H, W); an empty mask stays empty."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    if count <= 1:
        return np.zeros_like(mask)
    part: Mask = labels == 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    return part


def depth_inside(mask: Mask) -> NDArray[np.float32]:
    """Distance (H, W) in pixels of every mask pixel to the mask's border; the image edge counts."""
    padded = np.pad(mask.astype(np.uint8), 1)
    depth: NDArray[np.float32] = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return depth[1:-1, 1:-1].astype(np.float32)
