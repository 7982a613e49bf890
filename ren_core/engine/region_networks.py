"""The encoder and the head of a region model, compiled for the processor at hand."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ren_core.encoders.base import PatchEncoder, normalise
from ren_core.engine.compiled import CompiledModule, Network
from ren_core.region_encoder import RegionEncoder


def compiled_encoder(encoder: PatchEncoder, dtype: torch.dtype) -> Network:
    """From square images (B, 3, R, R) in 0..1 to patch features (B, D, h, w)."""
    return CompiledModule(_Features(encoder), dtype=dtype, free_axes=[(0,)])


def compiled_head(head: RegionEncoder, image_size: int, dtype: torch.dtype) -> Network:
    """From features (B, D, h, w) and points (B, N, 2) to REN tokens (B, N, D)."""
    return CompiledModule(_Tokens(head, image_size), dtype=dtype, free_axes=[(0,), (0, 1)])


class _Features(nn.Module):
    """The encoder as a function of one tensor."""

    def __init__(self, encoder: PatchEncoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, square: Tensor) -> Tensor:
        return self.encoder.encode(normalise(square, self.encoder.spec))


class _Tokens(nn.Module):
    """The head as a function of two tensors."""

    def __init__(self, head: RegionEncoder, image_size: int) -> None:
        super().__init__()
        self.head = head
        self.image_size = image_size

    def forward(self, features: Tensor, points_yx: Tensor) -> Tensor:
        tokens: Tensor = self.head(features, points_yx, self.image_size).ren_tokens
        return tokens
