"""Tokens of an image with the points they stand for, and the query token of an object."""

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
from ren_core.images import Image
from ren_core.regions import mask_on_grid

QueryKind = Literal["pooled", "centre", "mask"]


@dataclass(frozen=True, order=True, slots=True)
class Comparison:
    """A kind of tokens and a kind of query that is searched among them: a line of the table.

    Attributes:
        kind: Kind of tokens, such as ``patch``.
        query: ``pooled``: mean of the unit tokens whose points lie on the object; ``centre``: the
            token at the object's deepest point; ``mask``: mean of the unit patches, each weighted
            by the share of it that the object covers.
    """

    kind: str
    query: QueryKind


@dataclass(frozen=True, slots=True)
class PointTokens:
    """Tokens of an image, each with the point that it stands for.

    Attributes:
        tokens: (N, D), of any length.
        points_yx: (N, 2) points (y, x) in pixels of the image.
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


TokensByKind = dict[str, PointTokens]
"""Tokens of one image by their kind."""

Tokenize = Callable[[Image], TokensByKind]
"""Makes every kind of tokens of an RGB image (H, W, 3) uint8 of any size."""


def query_tokens(
    tokens: TokensByKind, mask: Mask, comparisons: Sequence[Comparison]
) -> list[Tensor]:
    """The query token (D,) of every comparison, for the object of a mask (H, W) of the image."""
    return [query_token(tokens[c.kind], mask, c.query) for c in comparisons]


def query_token(found: PointTokens, mask: Mask, query: QueryKind) -> Tensor:
    """One token (D,) for the object of a mask (H, W); a small mask takes the nearest token.

    Raises:
        ConfigError: If the query is ``mask`` and the tokens are no grid of cells.
    """
    unit = F.normalize(found.tokens.float(), dim=-1)
    if query == "mask":
        if found.cells is None:
            raise ConfigError("the query 'mask' needs patches; choose 'pooled' for other tokens")
        share = mask_on_grid(mask, (found.cells, found.cells)).ravel()
        return (torch.from_numpy(share)[:, None] * unit).sum(0) / float(share.sum())
    on_object = torch.from_numpy(found.values_of(mask).astype(bool))
    if query == "pooled" and on_object.any():
        return unit[on_object].mean(0)
    depth = depth_inside(mask)
    deepest = np.array(np.unravel_index(int(depth.argmax()), depth.shape), np.float32)
    distances = ((found.points_yx - deepest) ** 2).sum(1)
    return found.tokens[int(distances.argmin())].float()


def tokenize_crops(image: Image, tokenize: Tokenize) -> TokensByKind:
    """Tokens of the image and of its four quarters, with points in pixels of the image."""
    h, w = image.shape[0] // 2, image.shape[1] // 2
    crops = [((0, 0), tokenize(image))]
    for y in (0, h):
        for x in (0, w):
            quarter = np.ascontiguousarray(image[y : y + h, x : x + w])
            crops.append(((y, x), tokenize(quarter)))
    return {kind: join([(corner, found[kind]) for corner, found in crops]) for kind in crops[0][1]}


def join(crops: Sequence[tuple[tuple[int, int], PointTokens]]) -> PointTokens:
    """Tokens of several crops of one image, given each crop's corner (y, x)."""
    tokens = torch.cat([found.tokens for _, found in crops])
    points = [found.points_yx + np.array(corner, np.float32) for corner, found in crops]
    return PointTokens(tokens, np.concatenate(points))
