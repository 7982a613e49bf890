"""Groups of similar tokens of a whole batch of images, on the device that holds them.

The same groups as ``aggregation.aggregate`` makes image by image with the processor's graph search.
Nothing here looks at a number, so that nothing waits for a GPU: results have the size of the
largest case, and say how much of it is used.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ren_core.engine.choice import exact_products


@dataclass(frozen=True, slots=True)
class BatchGroups:
    """Groups of the N prompts of each of B images; behind an image's own groups stand fillers.

    Attributes:
        tokens: (B, N, D) mean of the raw tokens of each group.
        representatives: (B, N) int64 the prompt of each group that is nearest to its centroid.
        group_index: (B, N) int64 group of every prompt, -1 where its group was dropped.
        counts: (B,) int64 groups of each image.
    """

    tokens: Tensor
    representatives: Tensor
    group_index: Tensor
    counts: Tensor


def merge(tokens: Tensor, points_yx: Tensor, threshold: float, min_group: int) -> BatchGroups:
    """Group the prompts of images by token similarity; see ``aggregate``.

    Args:
        tokens: (B, N, D) REN tokens, not normalised, N >= 1.
        points_yx: (N, 2) integer prompts of every image, on the same device.
        threshold: The similarity μ.
        min_group: Groups of fewer prompts are dropped; the largest ones stay if none has as many.
    """
    N = tokens.shape[1]
    first = first_members(tokens, threshold)
    sizes = torch.zeros_like(first).scatter_add_(1, first, torch.ones_like(first))
    kept = sizes >= sizes.amax(dim=1, keepdim=True).clamp(max=min_group)
    number = kept.cumsum(dim=1) - 1
    group_index = number.gather(1, first).masked_fill(~kept.gather(1, first), -1)

    member = group_index[:, None] == torch.arange(N, device=tokens.device)[:, None]  # (B, G, N)
    count = member.sum(dim=2, keepdim=True).clamp(min=1)
    with exact_products():
        total = member.float() @ tokens.float()
        centroid = (member.float() @ points_yx.float()) / count  # of whole numbers, so exact
    return BatchGroups(
        tokens=(total / count).to(tokens.dtype),
        representatives=_most_central(points_yx, centroid, group_index, member),
        group_index=group_index,
        counts=kept.sum(dim=1),
    )


def first_members(tokens: Tensor, threshold: float) -> Tensor:
    """The first prompt (B, N) of the group of every prompt: connected components.

    Two prompts are linked if the cosine of their tokens is at least the threshold. Squaring the
    matrix of who reaches whom doubles the length of the paths it knows, and no path needs more than
    N - 1 links: so the number of products is known beforehand, whatever the tokens.

    Args:
        tokens: (B, N, D), N >= 1.
        threshold: A cosine.
    """
    N = tokens.shape[1]
    unit = F.normalize(tokens.float(), dim=-1)
    with exact_products():
        similar = unit @ unit.mT >= threshold
    own = torch.eye(N, dtype=torch.bool, device=tokens.device)
    reach = similar | similar.mT | own
    for _ in range((N - 1).bit_length()):
        reach = _products(reach)
    number = torch.arange(N, dtype=torch.int32, device=tokens.device)
    return number.masked_fill(~reach, N).amin(dim=2).long()


def _products(reach: Tensor) -> Tensor:
    """Who reaches whom (B, N, N) in twice as many steps; sums of ones never round to zero."""
    ones = reach.to(torch.bfloat16 if reach.is_cuda else torch.float32)
    return ones @ ones > 0


def _most_central(
    points_yx: Tensor, centroid: Tensor, group_index: Tensor, member: Tensor
) -> Tensor:
    """The member (B, G) nearest to each group's centroid (B, G, 2); the first one on ties."""
    own = group_index.clamp(min=0)[..., None].expand(-1, -1, 2)
    away = points_yx.double() - centroid.double().gather(1, own)
    distance = away.square().sum(dim=2)
    return distance[:, None].masked_fill(~member, torch.inf).argmin(dim=2)
