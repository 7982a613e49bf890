"""REN's regions in another encoder's feature space: masked attention in its pooling step.

REN says which pixels belong together; the other encoder, such as SigLIP 2 or a ViT with a class
token, says what they are. Its last attention, from which its image embedding comes, is restricted
to the patches of one region at a time; all regions of all images take part in one call.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ren_core.configuration import configuration
from ren_core.encoders.base import EncoderSpec, PatchEncoder, check_region_masks, squash
from ren_core.encoders.openclip import OpenClipViT
from ren_core.encoders.timm_vit import TimmViT
from ren_core.errors import ConfigError
from ren_core.images import as_float_images
from ren_core.region_tokens import RegionTokens
from ren_core.regions import mask_on_grid

Membership = Literal["centre", "overlap"]
Vanished = Literal["overlap", "drop"]
TOUCHES = 1e-6  # share of a patch from which a region overlaps it; less is rounding


@configuration()
class TransferConfig:
    """How regions of pixels become regions of patches.

    Attributes:
        patches: ``"centre"``: a patch belongs to the one region that holds its centre.
            ``"overlap"``: to every region that it overlaps.
        vanished: What happens to a region that holds no patch's centre. ``"overlap"``: it takes
            every patch that it overlaps. ``"drop"``: it is left out.
    """

    patches: Membership = "centre"
    vanished: Vanished = "overlap"


@dataclass(frozen=True, slots=True)
class PatchRegions:
    """Regions on a patch grid.

    Attributes:
        masks: (R, P) bool, P = grid * grid, row-major; no row is empty.
        region_index: (R,) int64 which of the given regions each row is, ascending.
    """

    masks: Tensor
    region_index: Tensor


@dataclass(frozen=True, slots=True)
class TransferredRegions:
    """Regions of one image in the other encoder's space.

    Attributes:
        tokens: (R, D) float32, not normalised.
        region_index: (R,) int64 REN region of each token.
        image_token: (D,) float32, the encoder's ordinary embedding of the whole image.
    """

    tokens: Tensor
    region_index: Tensor
    image_token: Tensor


class RegionPooler(Protocol):
    """An encoder whose pooling can be restricted; with a full mask it gives its image embedding."""

    @property
    def spec(self) -> EncoderSpec:
        """Its input size and patch grid."""

    def pool_regions(self, images: Tensor, masks: Tensor) -> Tensor:
        """(B, R, D) embeddings for images (B, 3, H, W) in 0..1 and masks (B, R, P) bool."""


class ClassTokenPooler:
    """A ViT whose class token sees, in the final block, only the patches of one region.

    Class and register tokens stay visible. With a full mask the result is the network's own output;
    tokens of an OpenCLIP tower are in the space that it shares with its texts.

    Args:
        encoder: A ViT that pools by its class token (DINO, DINOv2, CLIP), of timm or OpenCLIP.

    Raises:
        ConfigError: If it has no class token, pools otherwise, or turns positions in its blocks.
    """

    def __init__(self, encoder: PatchEncoder) -> None:
        self.encoder = encoder
        self._pool = _class_token_pooling(encoder)

    @property
    def spec(self) -> EncoderSpec:
        """The encoder's."""
        return self.encoder.spec

    @torch.no_grad()
    def pool_regions(self, images: Tensor, masks: Tensor) -> Tensor:
        """As ``RegionPooler``: one copy of the class token for each region in the final block."""
        check_region_masks(masks, len(images), self.spec.grid**2)
        prepared = self.encoder.prepare(images)
        return self._pool(prepared, masks.to(prepared.device))


def _class_token_pooling(encoder: PatchEncoder) -> Callable[[Tensor, Tensor], Tensor]:
    """What makes embeddings (B, R, E) of prepared images and masks (B, R, P).

    Raises:
        ConfigError: As ``ClassTokenPooler``.
    """
    name = encoder.spec.name
    if isinstance(encoder, OpenClipViT) and encoder.has_class_token:
        return encoder.pool_class_token
    network: Any = encoder.network if isinstance(encoder, TimmViT) else None
    if getattr(network, "cls_token", None) is None or network.global_pool != "token":
        raise ConfigError(
            f"{name} does not pool by a class token; choose a DINO, DINOv2 or CLIP model"
        )
    if getattr(network, "rope", None) is not None:
        raise ConfigError(
            f"{name} turns positions inside its blocks, which copies of the class token would "
            f"upset; choose a DINO, DINOv2 or CLIP model"
        )
    return partial(_pool_by_timm, network)


def _pool_by_timm(network: Any, images: Tensor, masks: Tensor) -> Tensor:  # noqa: ANN401 - no stubs
    """Embeddings of regions from a timm ViT, its final block run on copies of the class token."""
    found = network.forward_intermediates(
        images,
        indices=[len(network.blocks) - 2],
        return_prefix_tokens=True,
        stop_early=True,
        output_fmt="NLC",
        intermediates_only=True,
    )
    patches, prefix = found[0]  # what enters the final block
    R, registers = masks.shape[1], prefix.shape[1] - 1

    copies = prefix[:, :1].expand(-1, R, -1)
    sequence = torch.cat([copies, prefix[:, 1:], patches], dim=1)
    hidden = _hidden(masks, registers, patches.dtype)
    after = network.blocks[-1](sequence, attn_mask=hidden)[:, :R]
    embeddings: Tensor = network.head(network.fc_norm(network.norm(after)))
    return embeddings


def _hidden(masks: Tensor, registers: int, dtype: torch.dtype) -> Tensor:
    """Additive mask (B, 1, L, L): row r of the class copies sees itself, registers, its patches.

    The other rows see everything: what becomes of them is not used.
    """
    B, R, P = masks.shape
    allowed = masks.new_ones(B, R + registers + P, R + registers + P)
    allowed[:, :R, :R] = torch.eye(R, dtype=torch.bool, device=masks.device)
    allowed[:, :R, R + registers :] = masks
    hidden = torch.zeros(allowed.shape, dtype=dtype, device=masks.device)
    return hidden.masked_fill_(~allowed, float("-inf"))[:, None]


def patch_regions(
    labels: NDArray[np.int32], num_regions: int, grid: int, config: TransferConfig
) -> PatchRegions:
    """Bring a map of regions to the patch grid of an encoder that sees the same square.

    Args:
        labels: (S, S) region 0..num_regions-1 of every pixel; -1 belongs to none.
        num_regions: Regions G.
        grid: Patches per side.
        config: What counts as belonging.
    """
    at = ((np.arange(grid) + 0.5) * len(labels) / grid).astype(np.int64)
    centres = labels[np.ix_(at, at)].reshape(-1)
    masks = centres[None] == np.arange(num_regions)[:, None]  # (G, P)
    vanished = ~masks.any(axis=1)
    if config.patches == "overlap":
        taken = np.arange(num_regions)
    else:
        taken = np.flatnonzero(vanished) if config.vanished == "overlap" else np.arange(0)
    for region in taken:
        masks[region] = mask_on_grid(labels == region, (grid, grid)).reshape(-1) > TOUCHES
    kept = np.flatnonzero(masks.any(axis=1))
    return PatchRegions(torch.from_numpy(masks[kept]), torch.from_numpy(kept))


def transfer_regions(
    images: Tensor | Sequence[Tensor],
    regions: Sequence[RegionTokens],
    pooler: RegionPooler,
    config: TransferConfig | None = None,
) -> list[TransferredRegions]:
    """Tokens of REN's regions in the space of another encoder.

    Every pixel belongs to exactly one region: dropped prompts go to the most similar one.

    Args:
        images: As for ``REN.encode``.
        regions: What ``REN.encode`` gave for them, with grid or SLIC prompts.
        pooler: The other encoder.
        config: None: the defaults of ``TransferConfig``.

    Raises:
        ShapeError: If the images are no images or the prompts stand for no area.
    """
    pictures, spec = as_float_images(images), pooler.spec
    square = torch.cat([squash(picture[None], spec.input_size) for picture in pictures])
    on_patches = [
        patch_regions(r.labels(cover=True), len(r), spec.grid, config or TransferConfig())
        for r in regions
    ]

    # row 0 is the whole image, and so are the rows that pad shorter lists
    most = 1 + max(len(p.masks) for p in on_patches)
    masks = torch.ones(len(on_patches), most, spec.grid**2, dtype=torch.bool)
    for row, p in zip(masks, on_patches, strict=True):
        row[1 : 1 + len(p.masks)] = p.masks

    pooled = pooler.pool_regions(square, masks).float()
    return [
        TransferredRegions(tokens[1 : 1 + len(p.masks)], p.region_index, tokens[0])
        for tokens, p in zip(pooled, on_patches, strict=True)
    ]
