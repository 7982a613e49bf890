"""Windows of a frame: the multi-resolution tiles of a search, the zooms around a box."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ren_core.errors import ConfigError
from ren_core.geometry import Boxes, Mask, square_window, window_about
from ren_core.images import Image


@dataclass(frozen=True, slots=True)
class Crop:
    """A window of a frame, in whole pixels; coordinates inside it start at its upper left corner.

    Attributes:
        left: First column of the frame that the window shows.
        top: First row.
        width: Columns, at least 1.
        height: Rows, at least 1.
    """

    left: int
    top: int
    width: int
    height: int

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.height, self.width

    def cut(self, frame: Image) -> Image:
        """The pixels of the window (a view)."""
        return frame[self.top : self.top + self.height, self.left : self.left + self.width]

    def cut_mask(self, mask: Mask) -> Mask:
        """The window's part of a mask (H, W) of the frame (a view)."""
        return mask[self.top : self.top + self.height, self.left : self.left + self.width]

    def points_to_frame(self, points_xy: NDArray[np.floating]) -> NDArray[np.float32]:
        """Points (..., 2) of the window in pixels of the frame."""
        return (points_xy + np.array([self.left, self.top])).astype(np.float32)

    def points_to_crop(self, points_xy: NDArray[np.floating]) -> NDArray[np.float32]:
        """Points (..., 2) of the frame in pixels of the window; they may lie outside it."""
        return (points_xy - np.array([self.left, self.top])).astype(np.float32)

    def box_to_frame(self, box_xyxy: Boxes) -> Boxes:
        """A box (..., 4) of the window in pixels of the frame."""
        return (box_xyxy + np.array([self.left, self.top] * 2)).astype(np.float32)

    def box_to_crop(self, box_xyxy: Boxes) -> Boxes:
        """A box (..., 4) of the frame in pixels of the window; may leave it."""
        return (box_xyxy - np.array([self.left, self.top] * 2)).astype(np.float32)

    def holds(self, point_xy: Sequence[float]) -> bool:
        """Whether a point of the frame lies in the window."""
        x, y = point_xy[0] - self.left, point_xy[1] - self.top
        return 0 <= x < self.width and 0 <= y < self.height


def frame_crops(size_hw: tuple[int, int], factors: Sequence[int]) -> list[Crop]:
    """Tiles of a frame: for each factor f, f x f windows that cover it without overlap.

    >>> [c.size_hw for c in frame_crops((5, 9), (1, 2))]
    [(5, 9), (2, 4), (2, 5), (3, 4), (3, 5)]
    """
    H, W = size_hw
    crops = []
    for factor in factors:
        if not 1 <= factor <= min(H, W):
            raise ConfigError(f"crop factor must be in 1..{min(H, W)} for {W}x{H}, got {factor}")
        rows = [H * i // factor for i in range(factor + 1)]
        columns = [W * i // factor for i in range(factor + 1)]
        crops += [
            Crop(left, top, right - left, bottom - top)
            for top, bottom in pairwise(rows)
            for left, right in pairwise(columns)
        ]
    return crops


def zoom_crop(box_xyxy: Boxes, size_hw: tuple[int, int], factor: float) -> Crop:
    """The window of 1/factor of the frame's sides around a box, shifted to lie inside the frame.

    It keeps the frame's aspect. If the box would not fit, the factor is lowered until it does.
    """
    H, W = size_hw
    x1, y1, x2, y2 = (float(v) for v in box_xyxy)
    share = max(1 / factor, (x2 - x1) / W, (y2 - y1) / H)
    width = int(np.clip(round(W * share), 1, W))
    height = int(np.clip(round(H * share), 1, H))
    left, top = window_about(((x1 + x2) / 2, (y1 + y2) / 2), (height, width), size_hw)
    return Crop(left, top, width, height)


def square_crop(
    center_xy: Sequence[float] | NDArray[np.floating], side: float, size_hw: tuple[int, int]
) -> Crop:
    """A square window about a point, shifted and cut to lie inside the frame."""
    rows, columns = square_window(center_xy, side, size_hw)
    return Crop(columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start)
