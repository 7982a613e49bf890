"""What is known of a thing in a picture, as maps that a mask head reads."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from ren_core.errors import ShapeError
from ren_core.geometry import Boxes, Mask
from ren_core.regions import mask_on_grid

Floats = NDArray[np.float32]
BOX, POINTS, MASK, CORE = range(4)
CHANNELS = 4
POINT_SIGMA = 1.0  # cells: radius of a point's bump


@dataclass(frozen=True, slots=True)
class Reference:
    """What a thing looks like in another picture.

    Attributes:
        encoder: Name of the encoder; a mask head reads what its own encoder has seen, at any size.
        patches: (D, h, w) features of that picture.
        shares: (h, w) share of each patch that the thing covers, 0..1.
    """

    encoder: str
    patches: Floats
    shares: Floats


@dataclass(frozen=True, slots=True)
class MaskPrompt:
    """What is known of a thing in a picture (H, W, 3); at least one of the first three.

    Attributes:
        box_xyxy: (4,) pixels; may be loose, and may leave the picture.
        points_xy: (N, 2) pixels of points on the thing.
        mask: (H, W), roughly the thing, such as its outline in the frame before; bool, or the
            share of every pixel.
        reference: The thing in another picture.
    """

    box_xyxy: Boxes | None = None
    points_xy: Floats | None = None
    mask: Mask | Floats | None = None
    reference: Reference | None = None

    def __post_init__(self) -> None:
        if self.box_xyxy is None and self.points_xy is None and self.mask is None:
            raise ShapeError("a prompt needs a box, a point or a rough mask; it has none")


def prompt_maps(prompt: MaskPrompt, size_hw: tuple[int, int], side: int) -> Floats:
    """A prompt on a grid over the picture.

    Args:
        prompt: In pixels of the picture.
        size_hw: Of the picture.
        side: Cells per side.

    Returns:
        (4, side, side) in 0..1: share of each cell inside the box; bumps at the points; share of
        the rough mask; and where the thing's own look is read: at the points, else in the mask,
        else about the middle of the box.
    """
    maps = np.zeros((CHANNELS, side, side), np.float32)
    scale = np.array([side / size_hw[1], side / size_hw[0]], np.float32)
    if prompt.box_xyxy is not None:
        low, high = prompt.box_xyxy.reshape(2, 2) * scale
        columns, rows = (_covered(float(low[i]), float(high[i]), side) for i in (0, 1))
        maps[BOX] = np.outer(rows, columns)
        maps[CORE] = _bump((low + high) / 2, np.maximum(high - low, 1) / 4, side)
    if prompt.mask is not None:
        maps[MASK] = mask_on_grid(prompt.mask, (side, side))
        maps[CORE] = maps[MASK]
    if prompt.points_xy is not None and len(prompt.points_xy):
        sigma = np.full(2, POINT_SIGMA)
        bumps = [_bump(point * scale, sigma, side) for point in prompt.points_xy]
        maps[POINTS] = maps[CORE] = np.max(bumps, axis=0)
    return maps


def reference_maps(reference: Reference | None, width: int, grid: int) -> Floats:
    """A reference as a mask head reads it.

    Args:
        reference: None gives zeros.
        width: Length D of its features; 0, for a head that reads none: it counts as None.
        grid: Patches per side.

    Returns:
        (D + 1, grid, grid): features, and the share of each that is the thing.
    """
    if reference is None or width == 0:
        return np.zeros((width + 1, grid, grid), np.float32)
    maps = torch.from_numpy(np.concatenate([reference.patches, reference.shares[None]]))
    on_grid = F.interpolate(maps[None].float(), size=(grid, grid), mode="bilinear")
    return on_grid[0].numpy()


def _covered(low: float, high: float, side: int) -> Floats:
    """Share (side,) of each cell between two places."""
    edges = np.arange(side, dtype=np.float32)
    share: Floats = np.clip(np.minimum(high, edges + 1) - np.maximum(low, edges), 0, 1)
    return share


def _bump(centre_xy: Floats, sigma_xy: Floats, side: int) -> Floats:
    cells = np.arange(side, dtype=np.float32) + 0.5
    x, y = (np.exp(-0.5 * ((cells - c) / s) ** 2) for c, s in zip(centre_xy, sigma_xy, strict=True))
    return np.outer(y, x).astype(np.float32)
