"""Heads as training starts them: with random weights, or as local pooling.

Local pooling makes every token the average of the patches at its prompt. A head with random weights
looks anywhere, and a short training spends most of its time on finding the prompt. In this
architecture the answer can be written down: queries that carry the prompt's position code, keys
that project position codes, values that are the patches.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from ren_core.region_encoder import CrossAttention, RegionAttentionBlock, RegionEncoder
from ren_core.training.config import TrainConfig


def build_head(dim: int, grid: int, config: TrainConfig) -> RegionEncoder:
    """The head as training starts it."""
    torch.manual_seed(config.seed)
    head = RegionEncoder(dim, config.num_heads, config.num_layers, dropout=config.dropout)
    if config.start == "local":
        start_local(head, grid, sharpness=config.sharpness)
    # the last block's values are the patches themselves: its projection never gets a gradient
    head_blocks(head)[-1].cross_attn.v_proj.requires_grad_(False)
    return head


@torch.no_grad()
def start_local(head: RegionEncoder, grid: int, *, sharpness: float) -> None:
    """Overwrite the weights so that tokens are local averages of the patches.

    Args:
        head: Any head; changed in place.
        grid: Patches per side of the features that it will see.
        sharpness: Factor on the attention scores; higher looks at fewer patches.
    """
    dim, layers = head.dim, len(head.region_attention_layers)
    directions = position_directions(head, grid)

    # Every block adds the prompt's position p once. The last one shall get -p, so that its residual
    # takes the position code out of the pooled patches again.
    head.prompt_proj.weight.copy_(-(layers + 1) * torch.eye(dim))
    head.prompt_proj.bias.zero_()

    blocks = head_blocks(head)
    for block in blocks:
        block.out_norm.weight.zero_()
        block.out_norm.bias.zero_()
        block.cross_attn.out_proj.weight.zero_()
        block.cross_attn.out_proj.bias.zero_()
        _look_at_prompt(block.cross_attn, directions, sharpness)
    blocks[-1].cross_attn.out_proj.weight.copy_(torch.eye(dim))

    head.out_proj.weight.copy_(torch.eye(dim))
    head.out_proj.bias.zero_()
    shrunk = pooled_position_length(head, grid)
    head.prompt_proj.weight.copy_(-(layers + shrunk) * torch.eye(dim))


def pooled_position_length(head: RegionEncoder, grid: int) -> float:
    """Share, 0..1, of the prompt's own position code that local pooling leaves in its token."""
    cells = torch.arange(grid)
    points_yx = torch.cartesian_prod(cells, cells)[None]
    blank = torch.zeros(1, head.dim, grid, grid)
    was_training = head.training
    left = head.eval()(blank, points_yx, grid).ren_tokens[0]
    head.train(was_training)
    codes = head.position.of_points(points_yx[0], grid)
    return 1 + float((left * codes).sum() / codes.square().sum())


def head_blocks(head: RegionEncoder) -> list[RegionAttentionBlock]:
    """The blocks of a head with their type."""
    blocks = list(head.region_attention_layers)
    assert all(isinstance(block, RegionAttentionBlock) for block in blocks)
    return cast("list[RegionAttentionBlock]", blocks)


def position_directions(head: RegionEncoder, grid: int) -> Tensor:
    """Orthonormal rows (dim / heads, dim): the span in which position codes vary most."""
    codes = head.position.of_grid(grid, grid)
    return torch.linalg.svd(codes, full_matrices=True).Vh[: head.dim // head.num_heads]


def _look_at_prompt(attention: CrossAttention, directions: Tensor, sharpness: float) -> None:
    keys = directions.repeat(attention.num_heads, 1)
    attention.k_proj.weight.copy_(keys)
    attention.k_proj.bias.zero_()
    attention.q_proj.weight.copy_(-keys)  # queries come as minus the position
    attention.q_proj.bias.zero_()
    attention.q_norm.weight.fill_(sharpness)
