"""How a decoded picture is turned and mirrored for display: the container's display matrix."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np

from ren_core.images import Image


@dataclass(frozen=True, slots=True)
class Orientation:
    """One of the eight ways to lay a picture: transposed first, then mirrored.

    Attributes:
        transpose: Rows become columns.
        mirror_x: Left and right are exchanged, after that.
        mirror_y: Top and bottom are exchanged, after that.
        is_exact: False if the matrix says an angle between quarter turns; the nearest one is taken.
    """

    transpose: bool = False
    mirror_x: bool = False
    mirror_y: bool = False
    is_exact: bool = True

    @property
    def is_plain(self) -> bool:
        """Whether the decoded picture is shown as it is."""
        return not (self.transpose or self.mirror_x or self.mirror_y)

    def size(self, size_hw: tuple[int, int]) -> tuple[int, int]:
        """Height and width as shown of a picture decoded with ``size_hw``, and the other way."""
        return (size_hw[1], size_hw[0]) if self.transpose else size_hw

    def apply(self, image: Image) -> Image:
        """The picture (H, W, 3) as it is shown."""
        if self.is_plain:
            return image
        shown = image.transpose(1, 0, 2) if self.transpose else image
        step_y, step_x = (-1 if flag else 1 for flag in (self.mirror_y, self.mirror_x))
        return np.ascontiguousarray(shown[::step_y, ::step_x])


def orientation_of(frame: Any) -> Orientation:  # noqa: ANN401 - an av.VideoFrame
    """What the display matrix of a decoded frame says; as it is without one."""
    for data in frame.side_data:
        if data.type.name == "DISPLAYMATRIX":
            return orientation_of_matrix(struct.unpack("<9i", bytes(data)[:36]))
    return Orientation()


def orientation_of_matrix(matrix: tuple[int, ...]) -> Orientation:
    """The nearest of the eight orientations.

    Args:
        matrix: Nine 32-bit numbers by row, as FFmpeg and MP4 have them: the point (p, q) of the
            decoded picture is shown at (a p + c q, b p + d q) + a shift.

    >>> orientation_of_matrix((0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30))
    Orientation(transpose=True, mirror_x=True, mirror_y=False, is_exact=True)
    """
    a, b, _, c, d = matrix[:5]
    turned = abs(b) + abs(c) > abs(a) + abs(d)
    along, across = ((c, b), (a, d)) if turned else ((a, d), (b, c))
    small = max(abs(v) for v in along) / 100
    return Orientation(turned, along[0] < 0, along[1] < 0, all(abs(v) <= small for v in across))
