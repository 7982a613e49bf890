"""DINO, DINOv2 and DINOv3 vision transformers, built by timm."""

from __future__ import annotations

from collections.abc import Mapping

import timm
from torch import Tensor, nn

from ren_core.encoders.base import EncoderSpec, PatchEncoder, resample_positions

State = Mapping[str, Tensor]
_NOT_USED = ("mask_token", "head.")
"""Entries of the original files that the network here does not have."""


class TimmViT(PatchEncoder):
    """Last-layer patch tokens of a timm vision transformer, final norm on.

    Args:
        spec: Its facts; ``dim`` must be the width of the network.
        network: Built for images of ``spec.input_size``.
    """

    def __init__(self, spec: EncoderSpec, network: nn.Module) -> None:
        super().__init__(spec)
        self.network = network
        self.freeze()

    def encode(self, images: Tensor) -> Tensor:
        """Features (B, D, grid, grid); class and register tokens are dropped."""
        tokens: Tensor = self.network.forward_features(images)  # type: ignore[operator]
        patches = tokens[:, self.network.num_prefix_tokens :]
        grid = self.spec.grid
        return patches.transpose(1, 2).unflatten(2, (grid, grid))


def create_vit(architecture: str, input_size: int, options: Mapping[str, object]) -> nn.Module:
    """A timm vision transformer with random weights, without classifier, for one input size."""
    network: nn.Module = timm.create_model(
        architecture, pretrained=False, num_classes=0, img_size=input_size, **options
    )
    return network


def load_vit(network: nn.Module, state: State, *, grid: int, position_offset: float = 0.0) -> None:
    """Load weights strictly; a learned position table is first brought to the network's grid."""
    kept = {n: t for n, t in state.items() if not n.startswith(_NOT_USED)}
    if "pos_embed" in kept:
        prefix: int = network.num_prefix_tokens  # type: ignore[assignment]
        kept["pos_embed"] = resample_positions(
            kept["pos_embed"], grid, prefix=prefix, offset=position_offset
        )
    network.load_state_dict(kept, strict=True)
