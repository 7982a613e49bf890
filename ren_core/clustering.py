"""Groups of prompts by k-means of their tokens: at most so many, whatever the picture."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ren_core.engine.choice import exact_products

ROUNDS = 20  # after which next to nothing moves any more


def kmeans_groups(tokens: Tensor, points_yx: Tensor, regions: int) -> Tensor:
    """Group (N,) int64 of every prompt of an image, in 0..regions-1; some numbers may be unused.

    Groups start as the cells of a grid over the prompts, as superpixels do, so that nothing is
    drawn at random. A prompt then goes to the nearest mean of unit tokens, wherever it lies.

    Args:
        tokens: (N, D), not normalised, N >= 1.
        points_yx: (N, 2) their prompts.
        regions: Most groups; the grid has the most cells of nearly square shape that fit.
    """
    unit = F.normalize(tokens.float(), dim=-1)
    group = _cells(points_yx.to(unit.device), regions)
    with exact_products():
        for _ in range(ROUNDS):
            before, group = group, _nearest(unit, group, regions)
            if torch.equal(before, group):
                break
    return group


def _cells(points_yx: Tensor, regions: int) -> Tensor:
    """The cell of every point (N, 2) in a grid over all of them, row by row."""
    rows = int(regions**0.5)
    columns = regions // rows
    low, high = points_yx.amin(dim=0), points_yx.amax(dim=0)
    share = (points_yx - low).double() / (high - low).clamp(min=1)
    counts = torch.tensor([rows, columns], device=share.device)
    cell = (share * counts).long().minimum(counts - 1)
    return cell[:, 0] * columns + cell[:, 1]


def _nearest(unit: Tensor, group: Tensor, regions: int) -> Tensor:
    """The group whose mean is nearest to each unit token; empty ones take no more part."""
    counts = torch.bincount(group, minlength=regions)
    means = unit.new_zeros((regions, unit.shape[1])).index_add_(0, group, unit)
    means = means / counts.clamp(min=1)[:, None]
    closeness = unit @ means.T - means.square().sum(dim=1) / 2
    return closeness.masked_fill(counts == 0, -torch.inf).argmax(dim=1)
