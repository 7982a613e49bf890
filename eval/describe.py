"""What an image is to the re-identification evaluation: tokens, and the points they stand for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ren_core.encoders.base import PatchEncoder
from ren_core.geometry import Mask, depth_inside

Image = NDArray[np.uint8]
QueryKind = Literal["pooled", "centre"]


@dataclass(frozen=True, slots=True)
class Described:
    """Tokens (N, D) of an image, and the (N, 2) points (y, x) in its pixels they stand for."""

    tokens: Tensor
    points_yx: NDArray[np.float32]

    def values_of(self, image: NDArray[np.generic]) -> NDArray[np.generic]:
        """(N,) values of an array (H, W) at the points."""
        limit = np.array(image.shape) - 1
        rows, columns = np.clip(self.points_yx.astype(np.int64), 0, limit).T
        return image[rows, columns]

    def similarity(self, query: Tensor) -> NDArray[np.float64]:
        """(N,) cosine of every token to a query token (D,)."""
        scores = F.normalize(self.tokens.float(), dim=-1) @ F.normalize(query.float(), dim=-1)
        return scores.double().numpy()


Describe = Callable[[Image], Described]
"""Turns an RGB image (H, W, 3) uint8 of any size into tokens."""


def query_token(described: Described, mask: Mask, kind: QueryKind) -> Tensor:
    """One token (D,) for the object of a mask (H, W); a small mask takes the nearest token."""
    depth = depth_inside(mask)
    on_object = torch.from_numpy(described.values_of(mask).astype(bool))
    if kind == "pooled" and on_object.any():
        return F.normalize(described.tokens.float(), dim=-1)[on_object].mean(0)
    deepest = np.array(np.unravel_index(int(depth.argmax()), depth.shape), np.float32)
    distances = ((described.points_yx - deepest) ** 2).sum(1)
    return described.tokens[int(distances.argmin())].float()


def patch_describer(encoder: PatchEncoder) -> Describe:
    """The encoder's own patches as tokens; points are patch centres in pixels of the image."""

    def describe(image: Image) -> Described:
        pixels = torch.tensor(image).permute(2, 0, 1)[None].float() / 255
        tokens = encoder(pixels).tokens[0].float().cpu()
        return Described(tokens, grid_centres(encoder.spec.grid, image.shape[:2]))

    return describe


def grid_centres(grid: int, size_hw: tuple[int, ...]) -> NDArray[np.float32]:
    """(grid * grid, 2) centres (y, x) of a row-major grid of cells over an image of ``size_hw``."""
    steps = (np.arange(grid, dtype=np.float32) + 0.5) / grid
    y, x = np.meshgrid(steps * size_hw[0], steps * size_hw[1], indexing="ij")
    return np.stack([y.ravel(), x.ravel()], axis=1)


def describe_crops(image: Image, describe: Describe) -> Described:
    """Tokens of the image and of its four quarters, with points in pixels of the image."""
    h, w = image.shape[0] // 2, image.shape[1] // 2
    whole = describe(image)
    tokens, points = [whole.tokens], [whole.points_yx]
    for y in (0, h):
        for x in (0, w):
            part = describe(np.ascontiguousarray(image[y : y + h, x : x + w]))
            tokens.append(part.tokens)
            points.append(part.points_yx + np.array([y, x], np.float32))
    return Described(torch.cat(tokens), np.concatenate(points))
