"""What an image is to the re-identification evaluation: tokens, and the points they stand for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ren_core.errors import ConfigError
from ren_core.geometry import Mask, depth_inside
from ren_core.regions import mask_on_grid

Image = NDArray[np.uint8]
QueryKind = Literal["pooled", "centre", "mask"]


@dataclass(frozen=True, order=True, slots=True)
class Measure:
    """A line of the table: which tokens are searched, and by what query.

    Attributes:
        row: Name of the tokens.
        query: ``pooled``: mean of the unit tokens whose points lie on the object; ``centre``: the
            token at the object's deepest point; ``mask``: mean of the unit patches, each weighted
            by the share of it that the object covers.
    """

    row: str
    query: QueryKind


@dataclass(frozen=True, slots=True)
class Described:
    """Tokens of an image.

    Attributes:
        tokens: (N, D), of any length.
        points_yx: (N, 2) points (y, x) in pixels of the image that they stand for.
        cells: Cells per side, if the tokens are a row-major grid of cells over the image.
    """

    tokens: Tensor
    points_yx: NDArray[np.float32]
    cells: int | None = None

    def values_of(self, image: NDArray[np.generic]) -> NDArray[np.generic]:
        """(N,) values of an array (H, W) at the points."""
        limit = np.array(image.shape) - 1
        rows, columns = np.clip(self.points_yx.astype(np.int64), 0, limit).T
        return image[rows, columns]

    def similarity(self, queries: Tensor) -> NDArray[np.float32]:
        """(Q, N) cosine of query tokens (Q, D) to every token."""
        scores = F.normalize(queries.float(), dim=-1) @ F.normalize(self.tokens.float(), dim=-1).T
        return scores.numpy()


Descriptions = dict[str, Described]
"""Tokens of one image by the name of their row."""

Describe = Callable[[Image], Descriptions]
"""Turns an RGB image (H, W, 3) uint8 of any size into tokens of every row."""


def query_tokens(found: Descriptions, mask: Mask, measures: Sequence[Measure]) -> list[Tensor]:
    """The query (D,) of every measure, for the object of a mask (H, W) of a described image."""
    return [query_token(found[measure.row], mask, measure.query) for measure in measures]


def query_token(described: Described, mask: Mask, kind: QueryKind) -> Tensor:
    """One token (D,) for the object of a mask (H, W); a small mask takes the nearest token.

    Raises:
        ConfigError: If the kind is ``mask`` and the tokens are no grid of cells.
    """
    unit = F.normalize(described.tokens.float(), dim=-1)
    if kind == "mask":
        if described.cells is None:
            raise ConfigError("the query 'mask' needs patches; choose 'pooled' for other tokens")
        share = mask_on_grid(mask, (described.cells, described.cells)).ravel()
        return (torch.from_numpy(share)[:, None] * unit).sum(0) / float(share.sum())
    on_object = torch.from_numpy(described.values_of(mask).astype(bool))
    if kind == "pooled" and on_object.any():
        return unit[on_object].mean(0)
    depth = depth_inside(mask)
    deepest = np.array(np.unravel_index(int(depth.argmax()), depth.shape), np.float32)
    distances = ((described.points_yx - deepest) ** 2).sum(1)
    return described.tokens[int(distances.argmin())].float()


def describe_crops(image: Image, describe: Describe) -> Descriptions:
    """Tokens of the image and of its four quarters, with points in pixels of the image."""
    h, w = image.shape[0] // 2, image.shape[1] // 2
    seen = [((0, 0), describe(image))]
    for y in (0, h):
        for x in (0, w):
            part = np.ascontiguousarray(image[y : y + h, x : x + w])
            seen.append(((y, x), describe(part)))
    return {row: join([(corner, found[row]) for corner, found in seen]) for row in seen[0][1]}


def join(parts: Sequence[tuple[tuple[int, int], Described]]) -> Described:
    """Tokens of several windows of one image, given each window's corner (y, x)."""
    tokens = torch.cat([described.tokens for _, described in parts])
    points = [described.points_yx + np.array(corner, np.float32) for corner, described in parts]
    return Described(tokens, np.concatenate(points))
