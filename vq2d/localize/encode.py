"""From windows of a frame to vectors that can be compared: one unit vector per region or point."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ren_core.configuration import Weight, configuration
from ren_core.engine.batches import in_batches
from ren_core.engine.host import fetched, loaded
from ren_core.images import Image, to_tensor
from ren_core.merging import merge
from ren_core.model import REN
from ren_core.prompts import to_image_points
from ren_core.region_tokens import RegionTokens
from ren_core.stages import digest
from vq2d.localize.areas import AREA_KINDS, AreaKind, Areas, find_areas
from vq2d.localize.colour import colour_vectors

Space = Literal["ren", "aligned", "patch", "aligned+patch", "ren+patch", AreaKind]


@configuration(group="encode")
class EncodeConfig:
    """Which vectors are compared.

    Attributes:
        space: ``"ren"`` or ``"aligned"`` tokens, the encoder's ``"patch"`` at the point, or two of
            them joined with equal weight; or the patches' mean over each ``"superpixel"`` or
            ``"mask"`` (see ``areas``), which are never merged.
        colour: Weight of the colours around a point beside its token, whose weight is 1.
    """

    space: Space = "ren"
    colour: Weight = 0.0


@dataclass(frozen=True, slots=True)
class ImageTokens:
    """Vectors of one image.

    Attributes:
        vectors: (N, D) float32 unit vectors.
        points_xy: (N, 2) float32 in pixels of the image.
    """

    vectors: Tensor
    points_xy: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Loaded:
    """Images that are about to be encoded.

    Attributes:
        images: RGB (H, W, 3) of any sizes.
        pixels: The same as tensors (3, H, W) on their way to a GPU; empty unless it ``streams``.
    """

    images: Sequence[Image]
    pixels: Sequence[Tensor]


class TokenEncoder:
    """Encodes images into vectors of one space; counts the images."""

    def __init__(self, ren: REN, config: EncodeConfig) -> None:
        self.ren = ren
        self.config = config
        self.images_encoded = 0
        self._area_kind = next((kind for kind in AREA_KINDS if kind == config.space), None)

    def regions(self, images: Sequence[Image]) -> list[ImageTokens]:
        """Vectors of the regions of each image, merged if the region model is so configured.

        Args:
            images: RGB (H, W, 3) of any sizes; each is squashed to the model's square.
        """
        if self._area_kind is not None:
            found = self._areas(images, self._area_kind)
            return [ImageTokens(vectors, areas.points_xy) for areas, vectors in found]
        return [
            ImageTokens(self._vectors(regions, image), _as_xy(regions.points_yx))
            for regions, image in zip(self._encode(images), images, strict=True)
        ]

    @cached_property
    def space(self) -> str:
        """Identity of the space of its vectors, but for engine and precision."""
        return digest([self.ren.fingerprint, self.config])

    @property
    def streams(self) -> bool:
        """Whether ``start`` comes back before there are results: plain tokens, on a GPU."""
        return self.ren.device.type == "cuda" and self._is_plain

    @property
    def _is_plain(self) -> bool:
        is_alone = self.config.space == "ren" and not self.config.colour
        return is_alone and self.ren.config.prompting == "grid"

    def load(self, images: Sequence[Image]) -> Loaded:
        """Images on their way to the networks; for a thread that works ahead of them."""
        device = self.ren.device
        return Loaded(images, [loaded(i, device) for i in images] if self.streams else ())

    def start(self, ready: Loaded) -> Callable[[], list[ImageTokens]]:
        """Begin with ``regions``; what it gives waits for them.

        Where this encoder ``streams`` they come to the host, and nothing has waited before.
        Elsewhere they are there at once.
        """
        if not self.streams:
            found = self.regions(ready.images)
            return lambda: found
        self.images_encoded += len(ready.images)
        parts = in_batches(self.ren, self._start_plain, ready.pixels)
        return lambda: [tokens for take in parts for tokens in take()]

    def _start_plain(self, pixels: Sequence[Tensor]) -> Callable[[], list[ImageTokens]]:
        """Begin with the tokens of the grid of images (3, H, W) uint8, merged if so configured."""
        ren, config = self.ren, self.ren.config
        sizes = [(int(p.shape[1]), int(p.shape[2])) for p in pixels]
        tokens = ren.grid_tokens(pixels)
        N, wanted = tokens.shape[1], [F.normalize(tokens, dim=-1)]
        if config.aggregate:
            groups = merge(tokens, ren.grid_points, config.merge_similarity, config.min_group)
            wanted = [F.normalize(groups.tokens, dim=-1), groups.representatives, groups.counts]
        fetch = fetched(wanted)

        def take() -> list[ImageTokens]:
            vectors, *groups = fetch()
            chosen = [torch.arange(N)] * len(vectors)
            if groups:
                chosen = [own[:n] for own, n in zip(groups[0], groups[1].tolist(), strict=True)]
            return [
                ImageTokens(v[: len(prompts)], self._places(prompts, size))
                for v, prompts, size in zip(vectors, chosen, sizes, strict=True)
            ]

        return take

    def _places(self, prompts: Tensor, size_hw: tuple[int, int]) -> NDArray[np.float32]:
        """Points (n, 2) of prompts of the grid, (x, y) in pixels of an image of that size."""
        ren = self.ren
        return _as_xy(to_image_points(ren.grid.points_yx[prompts], ren.image_size, size_hw))

    def at_points(
        self, images: Sequence[Image], points_xy: Sequence[NDArray[np.floating]]
    ) -> Tensor:
        """Vectors (N, D) of given points, (n, 2) pixels per image, in order; N = sum of n.

        In a space of areas a point stands for the finest one that holds it.
        """
        if self._area_kind is not None:
            pairs = zip(self._areas(images, self._area_kind), points_xy, strict=True)
            return torch.cat([vectors[areas.holding(p)] for (areas, vectors), p in pairs])
        points_yx = [torch.from_numpy(p[:, ::-1].copy()) for p in points_xy]
        found = self._encode(images, points_yx)
        return torch.cat(
            [self._vectors(regions, image) for regions, image in zip(found, images, strict=True)]
        )

    def _encode(
        self, images: Sequence[Image], points_yx: Sequence[Tensor] | None = None
    ) -> list[RegionTokens]:
        self.images_encoded += len(images)
        patches = "patch" in self.config.space.split("+")
        return self.ren.encode([to_tensor(i) for i in images], points_yx, patches=patches)

    def _areas(self, images: Sequence[Image], kind: AreaKind) -> list[tuple[Areas, Tensor]]:
        """The areas of each image, and their unit vectors (N, D) on the CPU."""
        self.images_encoded += len(images)
        features = self.ren.patch_features([to_tensor(i) for i in images]).features
        found = []
        for image, patches in zip(images, features, strict=True):
            areas = find_areas(image, kind, self.ren)
            vectors = areas.pool(patches)
            if self.config.colour:
                points_yx = areas.square_points_yx.numpy()
                colours = torch.from_numpy(colour_vectors(image, points_yx, areas.side))
                vectors = _joined(vectors, colours, self.config.colour)
            found.append((areas, vectors))
        return found

    def _vectors(self, regions: RegionTokens, image: Image) -> Tensor:
        """Unit vectors (G, D) of all regions; a region's token is the mean of its prompts'."""
        parts = [_of_kind(regions, kind) for kind in self.config.space.split("+")]
        vectors = F.normalize(torch.cat(parts, dim=-1), dim=-1)
        if not self.config.colour:
            return vectors
        points_yx = regions.prompts.points_yx.cpu().numpy()
        colours = torch.from_numpy(colour_vectors(image, points_yx, self.ren.image_size))
        return _joined(vectors, _pooled(regions, colours.to(vectors)), self.config.colour)


def _as_xy(points_yx: Tensor) -> NDArray[np.float32]:
    """Points (N, 2) the other way round."""
    return np.ascontiguousarray(points_yx.cpu().numpy()[:, ::-1])


def _joined(vectors: Tensor, colours: Tensor, weight: float) -> Tensor:
    """Unit vectors whose cosine is the weighted mean of the vectors' and the colours' cosines."""
    return torch.cat([vectors, weight**0.5 * colours], dim=-1) / (1 + weight) ** 0.5


def _of_kind(regions: RegionTokens, kind: str) -> Tensor:
    """Unit vectors (G, D): REN tokens, aligned tokens or patches."""
    if kind == "patch":
        assert regions.prompt_patches is not None
        return _pooled(regions, regions.prompt_patches)
    return F.normalize(regions.tokens if kind == "ren" else regions.aligned_tokens, dim=-1)


def _pooled(regions: RegionTokens, unit: Tensor) -> Tensor:
    """Unit vectors (G, D) of regions from those of their prompts (N, D)."""
    return F.normalize(regions.pool(unit), dim=-1) if regions.is_merged else unit
