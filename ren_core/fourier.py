"""2-D position features: seeded random Fourier features of points and of patch centres."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ren_core.errors import ConfigError

SEED = 42  # the official checkpoints do not hold the matrix; it is drawn again from this seed


class FourierPosition(nn.Module):
    """Map normalised positions to ``dim`` sines and cosines of random frequencies.

    The 2 x (dim / 2) frequency matrix is Gaussian with unit scale, drawn on the CPU from a fixed
    seed, so it is the same on every machine and is not part of the state dict.
    """

    frequencies: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        if dim < 2 or dim % 2:
            raise ConfigError(f"position features need an even width, got {dim}")
        matrix = torch.randn((2, dim // 2), generator=torch.Generator().manual_seed(SEED))
        self.register_buffer("frequencies", matrix, persistent=False)

    def forward(self, positions_xy: Tensor) -> Tensor:
        """Features (..., dim), float32, of positions (..., 2) = (x, y) in 0..1."""
        x, y = (2 * positions_xy.float() - 1).unsqueeze(-1).unbind(-2)
        f_x, f_y = self.frequencies.float()
        angles = (x * f_x + y * f_y) * (2 * math.pi)  # no matrix product: autocast would round it
        return torch.cat([angles.sin(), angles.cos()], dim=-1)

    def of_points(self, points_yx: Tensor, image_size: int) -> Tensor:
        """Features (..., dim) of integer pixels (..., 2) = (row, column) of a square image."""
        return self((points_yx.flip(-1).float() + 0.5) / image_size)

    def of_grid(self, height: int, width: int) -> Tensor:
        """Features (height * width, dim) of patch centres in row-major order."""
        device = self.frequencies.device
        y = (torch.arange(height, device=device) + 0.5) / height
        x = (torch.arange(width, device=device) + 0.5) / width
        grid_yx = torch.stack(torch.meshgrid(y, x, indexing="ij"), dim=-1)
        return self(grid_yx.flip(-1).reshape(height * width, 2))
