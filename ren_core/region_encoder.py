"""The cross-attention head: patch features and point prompts in, one region token per prompt out.

Follows the released REN module parameter by parameter, so that official checkpoints load strictly.
Source of the method: REN, "Fast and Efficient Region Encodings from Patch-Based Image Encoders".
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ren_core.errors import ConfigError, ShapeError
from ren_core.fourier import FourierPosition


@dataclass(frozen=True)
class RegionEncoderOutput:
    """Tokens of every prompt.

    Attributes:
        ren_tokens: (B, N, D) REN tokens, not normalised: instance-level, used for matching.
        attention_logits: One (B, heads, N, P) tensor per block, scaled, before the softmax; empty
            unless asked for.
    """

    ren_tokens: Tensor
    attention_logits: tuple[Tensor, ...]
    _head: RegionEncoder

    @cached_property
    def aligned_tokens(self) -> Tensor:
        """(B, N, D) tokens in the space of the encoder's patch features: category-level."""
        tokens = self.ren_tokens  # aligned on first use, in the gradient mode of the forward pass
        with (
            torch.inference_mode(tokens.is_inference()),
            torch.set_grad_enabled(tokens.requires_grad),
        ):
            return self._head.align(tokens)


class CrossAttention(nn.Module):
    """Multi-head attention of prompts over patches, with LayerNorm on queries and keys per head."""

    def __init__(self, dim: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.dropout = dropout
        self.q_proj = nn.Linear(dim, dim)
        self.k_proj = nn.Linear(dim, dim)
        self.v_proj = nn.Linear(dim, dim)
        self.out_proj = nn.Linear(dim, dim)
        self.q_norm = nn.LayerNorm(dim // num_heads)
        self.k_norm = nn.LayerNorm(dim // num_heads)

    def split_heads(self, x: Tensor) -> Tensor:
        """(B, n, D) → (B, heads, n, D / heads)."""
        return x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)

    def keys(self, patches: Tensor) -> Tensor:
        """Normalised keys (B, heads, P, D / heads) of patches (B, P, D)."""
        return self.k_norm(self.split_heads(self.k_proj(patches)))

    def forward(
        self, queries: Tensor, keys: Tensor, values: Tensor, *, with_logits: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """Attend queries (B, N, D) to keys and values (B, heads, P, D / heads).

        Returns:
            The output (B, N, D), and the scaled logits (B, heads, N, P) if asked for.
        """
        q = self.q_norm(self.split_heads(self.q_proj(queries)))
        p_drop = self.dropout if self.training else 0.0
        logits = None
        if with_logits:
            logits = (q * q.shape[-1] ** -0.5) @ keys.transpose(-1, -2)
            pooled = F.dropout(logits.softmax(dim=-1), p_drop) @ values
        else:
            pooled = F.scaled_dot_product_attention(q, keys, values, dropout_p=p_drop)
        return self.out_proj(pooled.transpose(1, 2).flatten(-2)), logits


class Mlp(nn.Module):
    """Two linear layers around a GELU; the hidden width is twice the input's."""

    def __init__(self, dim: int, dropout: float) -> None:
        super().__init__()
        self.linear1 = nn.Linear(dim, 2 * dim)
        self.linear2 = nn.Linear(2 * dim, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) → (..., D)."""
        return self.linear2(self.dropout(F.gelu(self.linear1(x))))


class RegionAttentionBlock(nn.Module):
    """Cross-attention and MLP, both residual; no attention among prompts.

    With ``project_values=False`` (the last block) the values are the patches themselves, so that
    tokens stay in their space; ``v_proj`` then exists for the checkpoint's sake only.
    """

    def __init__(self, dim: int, num_heads: int, dropout: float, *, project_values: bool) -> None:
        super().__init__()
        self.project_values = project_values
        self.query_norm = nn.LayerNorm(dim)
        self.cross_attn = CrossAttention(dim, num_heads, dropout)
        self.mlp_norm = nn.LayerNorm(dim)
        self.mlp = Mlp(dim, dropout)
        self.out_norm = nn.LayerNorm(dim)
        self.dropout = nn.Dropout(dropout)

    def keys_values(self, patches: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values (B, heads, P, D / heads) of patches (B, P, D): once per image."""
        attn = self.cross_attn
        values = attn.v_proj(patches) if self.project_values else patches
        return attn.keys(patches), attn.split_heads(values)

    def forward(
        self, queries: Tensor, keys: Tensor, values: Tensor, *, with_logits: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """Update queries (B, N, D); also return the attention logits if asked for."""
        attended, logits = self.cross_attn(
            self.query_norm(queries), keys, values, with_logits=with_logits
        )
        x = self.dropout(attended) + queries
        return self.out_norm(self.mlp(self.mlp_norm(x))) + x, logits


class RegionEncoder(nn.Module):
    """Cross-attend point prompts to frozen patch features, one region token per prompt.

    Args:
        dim: Width D of the patch features and of the tokens.
        num_heads: Attention heads; must divide ``dim``.
        num_layers: Blocks; the last one pools the patches without a value projection.
        dropout: In training mode only: attention weights, attention output, MLP.
        prompt_chunk: Prompts that pass through a block at once. Bounds the memory; prompts do not
            see each other, so the result does not depend on it.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int = 8,
        num_layers: int = 4,
        *,
        dropout: float = 0.1,
        prompt_chunk: int = 512,
    ) -> None:
        super().__init__()
        if dim % num_heads or num_layers < 1 or prompt_chunk < 1:
            raise ConfigError(
                f"need dim divisible by num_heads, num_layers >= 1 and prompt_chunk >= 1, got "
                f"dim={dim}, num_heads={num_heads}, {num_layers=}, {prompt_chunk=}"
            )
        self.dim = dim
        self.num_heads = num_heads
        self.prompt_chunk = prompt_chunk
        self.position = FourierPosition(dim)
        self.prompt_proj = nn.Linear(dim, dim)
        self.region_attention_layers = nn.ModuleList(
            RegionAttentionBlock(dim, num_heads, dropout, project_values=i < num_layers - 1)
            for i in range(num_layers)
        )
        self.out_norm = nn.LayerNorm(dim)
        self.out_proj = nn.Linear(dim, dim)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.kaiming_normal_(module.weight, nonlinearity="linear")

    def forward(
        self,
        features: Tensor,
        points_yx: Tensor,
        image_size: int,
        *,
        with_attention: bool = False,
    ) -> RegionEncoderOutput:
        """Pool patch features into region tokens.

        Args:
            features: (B, D, h, w) encoder output, class and register tokens removed.
            points_yx: (B, N, 2) integer pixels (row, column) of the resized square image.
            image_size: Side R of that image, in pixels.
            with_attention: Also return every block's attention logits (much more memory).

        Raises:
            ShapeError: If the shapes disagree, or a point on the processor lies outside the image.
        """
        if not _is_tracing():  # values decide, which a trace cannot follow
            self._check(features, points_yx, image_size)
        h, w = features.shape[-2:]
        patches = features.flatten(2).transpose(1, 2)  # (B, P, D)
        patches = patches + self.position.of_grid(h, w).to(patches.dtype)
        location = self.position.of_points(points_yx, image_size).to(patches.dtype)

        queries = self.prompt_proj(location)
        all_logits = []
        for block in self.region_attention_layers:
            queries, logits = self._run_block(
                block, queries + location, patches, with_logits=with_attention
            )
            all_logits.extend(logits)
        return RegionEncoderOutput(queries, tuple(all_logits), self)

    def align(self, ren_tokens: Tensor) -> Tensor:
        """Aligned tokens (..., D) of REN tokens (..., D)."""
        return self.out_proj(self.out_norm(ren_tokens))

    def _run_block(
        self, block: nn.Module, queries: Tensor, patches: Tensor, *, with_logits: bool
    ) -> tuple[Tensor, list[Tensor]]:
        keys, values = block.keys_values(patches)  # type: ignore[operator]
        outputs, logits = [], []
        # a trace is for any number of prompts, and would keep the number of chunks
        for chunk in [queries] if _is_tracing() else queries.split(self.prompt_chunk, dim=1):
            output, chunk_logits = block(chunk, keys, values, with_logits=with_logits)
            outputs.append(output)
            logits.append(chunk_logits)
        return torch.cat(outputs, dim=1), [torch.cat(logits, dim=2)] if with_logits else []

    def _check(self, features: Tensor, points_yx: Tensor, image_size: int) -> None:
        if features.ndim != 4 or features.shape[1] != self.dim or 0 in features.shape:
            raise ShapeError(
                f"features must be (B, {self.dim}, h, w), none of them 0, for this head; "
                f"got {tuple(features.shape)}"
            )
        if points_yx.ndim != 3 or points_yx.shape[-1] != 2 or len(points_yx) != len(features):
            raise ShapeError(
                f"points_yx must be ({len(features)}, N, 2) for these features, "
                f"got {tuple(points_yx.shape)}"
            )
        if points_yx.is_floating_point():
            raise ShapeError(f"points_yx must be integer pixels, got {points_yx.dtype}")
        # a look at points elsewhere would wait for the device, and cannot be compiled
        if points_yx.device.type == "cpu" and not torch.compiler.is_compiling():
            check_inside(points_yx, image_size)


def check_inside(points_yx: Tensor, image_size: int) -> None:
    """Refuse points (..., 2) outside a square image of that side, in pixels.

    Raises:
        ShapeError: If there is one.
    """
    if points_yx.numel() and not 0 <= int(points_yx.min()) <= int(points_yx.max()) < image_size:
        raise ShapeError(
            f"points must lie in 0..{image_size - 1}, got {int(points_yx.min())}.."
            f"{int(points_yx.max())}; scale them to the model's resolution first"
        )


def _is_tracing() -> bool:
    return bool(torch.jit.is_tracing())  # type: ignore[attr-defined, no-untyped-call]
