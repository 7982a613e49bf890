"""The vectors that are compared: one unit vector per point of an image, from REN or its patches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ren_core.aggregation import aggregate
from ren_core.encoders.base import PatchFeatures, patches_at
from ren_core.errors import ConfigError
from ren_core.images import Image, to_tensor
from ren_core.model import REN
from ren_core.prompts import grid_prompts, user_prompts
from vq2d.localize.colour import colour_vectors

SPACES = ("ren", "aligned", "patch", "aligned+patch", "ren+patch")


@dataclass(frozen=True, kw_only=True, slots=True)
class MatchingConfig:
    """Which vectors are compared.

    Attributes:
        space: ``"ren"`` or ``"aligned"`` tokens, the encoder's ``"patch"`` at the point, or two of
            them joined with equal weight.
        aggregate: Merge similar tokens of a crop into one.
        merge_similarity: Cosine of REN tokens from which they are merged.
        min_group: Groups of fewer prompts are dropped.
        colour: Weight of the colours around a point beside its token, whose weight is 1.
    """

    space: str = "ren"
    aggregate: bool = False
    merge_similarity: float = 0.975
    min_group: int = 1
    colour: float = 0.0

    def __post_init__(self) -> None:
        if self.space not in SPACES:
            raise ConfigError(f"matching space must be one of {SPACES}, got {self.space!r}")
        if self.colour < 0:
            raise ConfigError(f"the weight of colours must not be negative, got {self.colour}")


@dataclass(frozen=True, slots=True)
class MatchingTokens:
    """Vectors of one image.

    Attributes:
        vectors: (N, D) float32 unit vectors.
        points_xy: (N, 2) float32 in pixels of the image.
    """

    vectors: Tensor
    points_xy: NDArray[np.float32]


class Matcher:
    """Turns images and points into matching vectors; counts the images that it encodes."""

    def __init__(self, ren: REN, config: MatchingConfig) -> None:
        self.ren = ren
        self.config = config
        self.images_encoded = 0

    def encode(self, images: Sequence[Image]) -> PatchFeatures:
        """Patch features of RGB images (H, W, 3) of any sizes, squashed to the model's square."""
        self.images_encoded += len(images)
        return self.ren.patch_features([to_tensor(image) for image in images])

    def grid(self, images: Sequence[Image]) -> list[MatchingTokens]:
        """Vectors of a regular grid of prompts on each image, merged if so configured."""
        R = self.ren.image_size
        prompts = grid_prompts(R, self.ren.config.grid_size, self.ren.config.grid_convention)
        features = self.encode(images)
        points = [prompts.points_yx] * len(images)
        return [
            self._merged(
                tokens,
                self._coloured(vectors, image, prompts.points_yx),
                prompts.points_yx,
                image.shape[:2],
            )
            for (tokens, vectors), image in zip(
                self._vectors(features, points), images, strict=True
            )
        ]

    def at_points(
        self, images: Sequence[Image], points_xy: Sequence[NDArray[np.floating]]
    ) -> Tensor:
        """Vectors (N, D) of given points, (n, 2) pixels per image, in order; N = sum of n."""
        prompts = [
            user_prompts(torch.from_numpy(p[:, ::-1].copy()), image.shape[:2], self.ren.image_size)
            for image, p in zip(images, points_xy, strict=True)
        ]
        features = self.encode(images)
        found = self._vectors(features, [p.points_yx for p in prompts])
        return torch.cat(
            [
                self._coloured(vectors, image, own.points_yx)
                for (_, vectors), image, own in zip(found, images, prompts, strict=True)
            ]
        )

    def _coloured(self, vectors: Tensor, image: Image, points_yx: Tensor) -> Tensor:
        """Unit vectors (N, D) joined with the colours around their points, if so configured.

        The cosine of two of them is the weighted mean of the tokens' and the colours' cosines.
        """
        weight = self.config.colour
        if not weight:
            return vectors
        colours = colour_vectors(image, points_yx.cpu().numpy(), self.ren.image_size)
        joined = [vectors, weight**0.5 * torch.from_numpy(colours).to(vectors)]
        return torch.cat(joined, dim=-1) / (1 + weight) ** 0.5

    def _vectors(
        self, features: PatchFeatures, points_yx: Sequence[Tensor]
    ) -> list[tuple[Tensor | None, Tensor]]:
        """REN tokens (for merging) and matching vectors of each image's prompts."""
        space, size = self.config.space, features.spec.patch_size
        if space == "patch" and not self.config.aggregate:
            return [
                (None, patches_at(patches, points, size))
                for patches, points in zip(features.features, points_yx, strict=True)
            ]
        tokens = self.ren.prompt_tokens(features, points_yx)
        pairs: list[tuple[Tensor | None, Tensor]] = []
        for own, patches, points in zip(tokens, features.features, points_yx, strict=True):
            parts = []
            for part in space.split("+"):
                if part == "patch":
                    parts.append(patches_at(patches, points, size))
                else:
                    value = own if part == "ren" else self._aligned(own)
                    parts.append(F.normalize(value, dim=-1))
            pairs.append((own, F.normalize(torch.cat(parts, dim=-1), dim=-1)))
        return pairs

    def _aligned(self, tokens: Tensor) -> Tensor:
        with torch.no_grad():
            return self.ren.head.align(tokens).float()

    def _merged(
        self, tokens: Tensor | None, vectors: Tensor, points_yx: Tensor, size_hw: tuple[int, ...]
    ) -> MatchingTokens:
        if self.config.aggregate and tokens is not None:
            groups = aggregate(
                tokens,
                points_yx.to(tokens.device),
                self.config.merge_similarity,
                self.config.min_group,
            )
            vectors = F.normalize(groups.pool(vectors), dim=-1)
            points_yx = groups.points_yx
        scale = np.array([size_hw[1], size_hw[0]]) / self.ren.image_size
        points_xy = (points_yx.cpu().numpy()[:, ::-1] + 0.5) * scale
        return MatchingTokens(vectors, points_xy.astype(np.float32))
