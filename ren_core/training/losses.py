"""Training losses: contrast of region ids, similarity to pooled features, attention supervision.

They are computed in float32 under autocast too, and in float64 if that is what they are given.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ren_core.errors import ConfigError, ShapeError

NO_REGION = -1
"""Region id of a prompt that lies in no region."""


def info_nce(
    tokens: Tensor, region_ids: Tensor, temperature: float = 0.1, *, keep_null: bool = False
) -> Tensor:
    """Contrastive loss: tokens of one region attract, tokens of other regions repel.

    For a token i with positives P(i), all other tokens A(i):
    ``-mean over p of log(exp(i.p / t) / sum over a of exp(i.a / t))``, averaged over the tokens
    that have a positive. Every token given is compared with every other one, so what is passed in
    one call decides the negatives.

    Args:
        tokens: (N, D) REN tokens of all views, not normalised.
        region_ids: (N,) integer region of each prompt; equal means the same object. Negative
            means that the prompt lies in no region.
        temperature: t; divides the cosines.
        keep_null: False leaves prompts without a region out. True treats equal negative ids as a
            region of their own, as the released code does.

    Returns:
        A scalar; 0 with a gradient of 0 if no token has a positive.

    Raises:
        ShapeError: If tokens and ids do not fit each other.
        ConfigError: If the temperature is not positive.
    """
    if tokens.ndim != 2 or region_ids.shape != tokens.shape[:1]:
        raise ShapeError(
            f"need tokens (N, D) and region_ids (N,), got {tuple(tokens.shape)} and "
            f"{tuple(region_ids.shape)}"
        )
    if temperature <= 0:
        raise ConfigError(f"the temperature must be positive, got {temperature}")
    if not keep_null:
        kept = region_ids >= 0
        tokens, region_ids = tokens[kept], region_ids[kept]
    unit = F.normalize(precise(tokens), dim=-1)
    itself = torch.eye(len(unit), dtype=torch.bool, device=unit.device)
    logits = (inner_products(unit, unit) / temperature).masked_fill(itself, -torch.inf)
    positive = (region_ids[:, None] == region_ids[None, :]) & ~itself
    count = positive.sum(dim=1)
    log_share = logits.log_softmax(dim=1).masked_fill(~positive, 0.0).sum(dim=1)
    per_token = -log_share / count.clamp(min=1)
    anchors = count > 0
    return per_token[anchors].sum() / anchors.sum().clamp(min=1)


def feature_similarity(aligned: Tensor, targets: Tensor, valid: Tensor) -> Tensor:
    """Mean of 1 - cosine between aligned tokens and the pooled features of their regions.

    Args:
        aligned: (..., D) aligned tokens.
        targets: (..., D) mask-pooled patch features.
        valid: (...) bool: prompts that have a region.

    Returns:
        A scalar in 0..2; 0 if nothing is valid.
    """
    distance = 1 - F.cosine_similarity(precise(aligned), precise(targets), dim=-1)
    return (distance * valid).sum() / valid.sum().clamp(min=1)


def relation_similarity(
    aligned: tuple[Tensor, Tensor], targets: tuple[Tensor, Tensor], valid: Tensor
) -> Tensor:
    """Mean absolute difference of the cosines across two views, of tokens and of their targets.

    A term of the released code that the paper does not name.

    Args:
        aligned: One (N, D) tensor of aligned tokens per view.
        targets: One (N, D) tensor of mask-pooled features per view.
        valid: (2, N) bool: prompts of each view that have a region.
    """
    made = _cosines(*aligned)
    wanted = _cosines(*targets)
    pairs = valid[0][:, None] & valid[1][None, :]
    return ((made - wanted).abs() * pairs).sum() / pairs.sum().clamp(min=1)


def attention_supervision(logits: Tensor, coverage: Tensor, valid: Tensor) -> Tensor:
    """BCE and DICE, in equal parts, between one block's attention and the prompts' regions.

    Args:
        logits: (B, heads, N, P) scaled attention scores before the softmax.
        coverage: (B, N, P) share of every patch that the prompt's region covers, 0..1.
        valid: (B, N) bool: prompts that have a region.

    Returns:
        Mean over heads and valid prompts; 0 if nothing is valid.
    """
    logits = precise(logits)
    target = coverage.to(logits.dtype)[:, None].expand_as(logits)
    bce = F.binary_cross_entropy_with_logits(logits, target, reduction="none").mean(dim=-1)
    share = logits.sigmoid()
    overlap = 2 * (share * target).sum(dim=-1)
    dice = 1 - (overlap + 1) / (share.sum(dim=-1) + target.sum(dim=-1) + 1)  # +1: empty masks
    per_prompt = (bce + dice).mean(dim=1)  # (B, N)
    return (per_prompt * valid).sum() / valid.sum().clamp(min=1)


def precise(values: Tensor) -> Tensor:
    """Half precision as float32; float32 and float64 as they are."""
    return values if values.dtype == torch.float64 else values.float()


def inner_products(a: Tensor, b: Tensor) -> Tensor:
    """``a @ b.T`` in the precision of its arguments: autocast would take half of it."""
    with torch.autocast(a.device.type, enabled=False):
        return a @ b.T


def _cosines(a: Tensor, b: Tensor) -> Tensor:
    return inner_products(F.normalize(precise(a), dim=-1), F.normalize(precise(b), dim=-1))
