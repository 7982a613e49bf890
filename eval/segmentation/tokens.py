"""Tokens that a segmentation head classifies, and the pixels that each of them stands for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from eval.segmentation.config import Method
from eval.segmentation.confusion import Labels
from ren_core.aggregation import aggregate, attach_dropped, cluster
from ren_core.encoders.base import PatchFeatures
from ren_core.images import to_picture
from ren_core.model import REN
from ren_core.prompts import PointPrompts, grid_prompts, slic_prompts
from ren_core.regions import pool_labels

CLASSES_AT_ONCE = 16  # score maps enlarged at a time: 150 classes of a large photograph are 4 GB


@dataclass(frozen=True, slots=True)
class TokenMap:
    """Tokens of one square image.

    Attributes:
        tokens: (N, D), one per prompt; prompts of a merged group share one.
        prompts: Which pixels each prompt stands for; None: a row-major square grid of cells.
        distinct: How many different tokens there are.
    """

    tokens: Tensor
    prompts: PointPrompts | None
    distinct: int


@dataclass(frozen=True, slots=True)
class Prediction:
    """Class scores of a square image.

    Attributes:
        scores: (C, h, w), interpolated between cells; or (C, N), one column per superpixel.
        labels: (R, R) superpixel of every pixel; None if the scores are a map.
    """

    scores: Tensor
    labels: NDArray[np.int32] | None = None

    def dense(self, size_hw: tuple[int, int]) -> Tensor:
        """Scores (C, H, W) of every pixel."""
        if self.labels is None:
            return enlarge(self.scores, size_hw)
        labels = torch.from_numpy(_nearest(self.labels, size_hw)).long()
        return self.scores[:, labels.to(self.scores.device)]

    def classes(self, size_hw: tuple[int, int]) -> Labels:
        """Best class (H, W) of every pixel, the scores brought to that size first."""
        if self.labels is not None:
            best = self.scores.argmax(dim=0).byte().cpu().numpy()
            return best[_nearest(self.labels, size_hw)].astype(np.uint8)
        high, chosen = enlarge(self.scores[:CLASSES_AT_ONCE], size_hw).max(dim=0)
        for start in range(CLASSES_AT_ONCE, len(self.scores), CLASSES_AT_ONCE):
            part = enlarge(self.scores[start : start + CLASSES_AT_ONCE], size_hw)
            score, index = part.max(dim=0)
            chosen = torch.where(score > high, index + start, chosen)
            high = torch.maximum(score, high)
        labels: Labels = chosen.byte().cpu().numpy()
        return labels


def enlarge(scores: Tensor, size_hw: tuple[int, int]) -> Tensor:
    """Score maps (C, h, w) at another size, bilinear between cell centres."""
    return F.interpolate(scores[None], size_hw, mode="bilinear", align_corners=False)[0]


def _nearest(labels: NDArray[np.int32], size_hw: tuple[int, int]) -> NDArray[np.int64]:
    """A superpixel map at another size: every pixel takes the one at its own centre."""
    rows, columns = (
        (2 * np.arange(new) + 1) * old // (2 * new)
        for new, old in zip(size_hw, labels.shape, strict=True)
    )
    found: NDArray[np.int64] = labels[rows[:, None], columns].astype(np.int64)
    return found


def grid_tokens(ren: REN, source: str, features: Tensor, grid_size: int) -> Tensor:
    """Tokens (B, D, G, G) of patch features (B, D, h, w): the patches, or REN at cell centres."""
    if source == "patches":
        return features
    B, R = len(features), ren.image_size
    points = grid_prompts(R, grid_size, "patch").points_yx
    patches = PatchFeatures(features.to(ren.device), ren.encoder.spec)
    tokens = torch.stack(ren.prompt_tokens(patches, [points] * B))
    return tokens.transpose(1, 2).unflatten(2, (grid_size, grid_size))


def token_maps(
    ren: REN, methods: Sequence[Method], features: Tensor, square: Tensor, grid_size: int
) -> list[TokenMap]:
    """Tokens of one image for every method.

    Args:
        ren: The model.
        methods: Methods that differ only in merging share one computation.
        features: (D, h, w) patch features.
        square: (3, R, R) the image that they belong to, float in 0..1; SLIC looks at it.
        grid_size: Prompts per side; SLIC makes about its square.
    """
    R = ren.image_size
    features = features.to(ren.device)
    superpixels: PointPrompts | None = None
    if any(method.prompting == "slic" for method in methods):
        superpixels = slic_prompts(to_picture(square), grid_size**2, ren.config.compactness)

    known: dict[tuple[str, str], tuple[Tensor, PointPrompts | None]] = {}
    maps = []
    for method in methods:
        key = (method.source, method.prompting)
        if key not in known:
            prompts = superpixels if method.prompting == "slic" else None
            known[key] = (_tokens(ren, method, features, prompts, grid_size), prompts)
        tokens, prompts = known[key]
        points = grid_prompts(R, round(len(tokens) ** 0.5), "patch") if prompts is None else prompts
        maps.append(_merged(method, tokens, points.points_yx, prompts))
    return maps


def _tokens(
    ren: REN, method: Method, features: Tensor, superpixels: PointPrompts | None, grid_size: int
) -> Tensor:
    """One token (N, D) per cell or superpixel."""
    if superpixels is None:
        return grid_tokens(ren, method.source, features[None], grid_size)[0].flatten(1).T
    if method.source == "ren":
        patches = PatchFeatures(features[None], ren.encoder.spec)
        return ren.prompt_tokens(patches, [superpixels.points_yx])[0]
    assert superpixels.labels is not None
    return pool_labels(features.cpu(), superpixels.labels, len(superpixels)).to(ren.device)


def _merged(
    method: Method, tokens: Tensor, points_yx: Tensor, prompts: PointPrompts | None
) -> TokenMap:
    points = points_yx.to(tokens.device)
    if method.regions is not None:
        groups = cluster(tokens, points, method.regions)
    elif method.merge_similarity is not None:
        groups = aggregate(tokens, points, method.merge_similarity, method.min_group)
    else:
        return TokenMap(tokens, prompts, len(tokens))
    return TokenMap(groups.tokens[attach_dropped(tokens, groups)], prompts, len(groups.counts))
