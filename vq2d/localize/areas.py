"""Areas of a picture that are found without a network, and patch features pooled over them.

They stand where others use SAM: superpixels cut a picture into even pieces, and masks of several
coarsenesses follow its edges from parts to wholes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ren_core.encoders.base import squash
from ren_core.images import Image, to_batch, to_picture
from ren_core.model import REN
from ren_core.prompts import (
    PointPrompts,
    felzenszwalb_prompts,
    slic_prompts,
    to_image_points,
    user_prompts,
)
from ren_core.regions import pool_labels

AreaKind = Literal["superpixel", "mask"]
AREA_KINDS: tuple[AreaKind, ...] = get_args(AreaKind)

MASK_SIDE = 192
"""Pixels of the square in which masks are found: finer ones are smaller than a patch."""
MASK_SCALES = (10.0, 100.0, 400.0)
"""Felzenszwalb's scales: parts, things, groups of things."""


@dataclass(frozen=True, slots=True)
class Areas:
    """Areas of one image: those of several partitions one after another, the finest first.

    Attributes:
        partitions: At least one; each labels every pixel of the same square.
        size_hw: Height and width of the image, pixels.
    """

    partitions: tuple[PointPrompts, ...]
    size_hw: tuple[int, int]

    @property
    def side(self) -> int:
        """Pixels of the square's side."""
        assert self.partitions[0].labels is not None
        return len(self.partitions[0].labels)

    @property
    def square_points_yx(self) -> Tensor:
        """(N, 2) int64 central pixel of every area in the square."""
        return torch.cat([partition.points_yx for partition in self.partitions])

    @property
    def points_xy(self) -> NDArray[np.float32]:
        """(N, 2) central point of every area in pixels of the image."""
        points_yx = to_image_points(self.square_points_yx, self.side, self.size_hw)
        return np.ascontiguousarray(points_yx.numpy()[:, ::-1])

    def pool(self, features: Tensor) -> Tensor:
        """Unit means (N, D) float32 on the CPU of patch features (D, h, w) over every area."""
        means = []
        for partition in self.partitions:
            assert partition.labels is not None
            means.append(pool_labels(features.cpu(), partition.labels, len(partition)))
        return F.normalize(torch.cat(means), dim=-1)

    def holding(self, points_xy: NDArray[np.floating]) -> NDArray[np.int32]:
        """(n,) the finest area that holds each of some points (n, 2) of the image."""
        points_yx = torch.from_numpy(points_xy[:, ::-1].copy())
        y, x = user_prompts(points_yx, self.size_hw, self.side).points_yx.numpy().T
        assert self.partitions[0].labels is not None
        return self.partitions[0].labels[y, x]


def find_areas(image: Image, kind: AreaKind, ren: REN) -> Areas:
    """The areas of an image (H, W, 3).

    Args:
        image: RGB of any size; it is squashed to a square.
        kind: ``"superpixel"``: one SLIC partition of about ``grid_size`` squared areas;
            ``"mask"``: Felzenszwalb's at ``MASK_SCALES``, no mask smaller than a cell of the grid.
        ren: Gives the grid, SLIC's compactness and the square.
    """
    size_hw, count = (image.shape[0], image.shape[1]), ren.config.grid_size**2
    if kind == "superpixel":
        square = _square(image, ren.image_size)
        return Areas((slic_prompts(square, count, ren.config.compactness),), size_hw)
    square, least = _square(image, MASK_SIDE), -(-(MASK_SIDE**2) // count)
    masks = [felzenszwalb_prompts(square, scale, least) for scale in MASK_SCALES]
    return Areas(tuple(sorted(masks, key=len, reverse=True)), size_hw)


def _square(image: Image, side: int) -> Image:
    return to_picture(squash(to_batch(image), side)[0])
