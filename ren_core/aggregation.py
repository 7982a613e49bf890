"""Merge similar prompt tokens into one token per region: by a threshold, or into so many."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from ren_core.clustering import kmeans_groups
from ren_core.errors import ConfigError, ShapeError
from ren_core.merging import first_members

ROWS_AT_ONCE = 256  # similarities held at a time: this many rows; the lower triangle is skipped


@dataclass(frozen=True, slots=True)
class Aggregation:
    """Groups of prompts.

    Attributes:
        tokens: (G, D) mean of the raw tokens of each group.
        points_yx: (G, 2) the member prompt nearest to the centroid of each group's prompts.
        group_index: (N,) int64 group of every prompt, -1 where its group was dropped.
        counts: (G,) int64 prompts of each group.
        representatives: (G,) int64 which prompt ``points_yx`` is.
        relaxed: True if no group had ``min_group`` prompts, so that the largest ones were kept.
    """

    tokens: Tensor
    points_yx: Tensor
    group_index: Tensor
    counts: Tensor
    representatives: Tensor
    relaxed: bool

    def pool(self, values: Tensor) -> Tensor:
        """Mean (G, D') over each group of values (N, D') given per prompt."""
        return _group_mean(values, self.group_index, self.counts)


def aggregate(
    tokens: Tensor, points_yx: Tensor, threshold: float, min_group: int = 3
) -> Aggregation:
    """Group the prompts of one image by token similarity.

    Two prompts are linked if the cosine of their tokens is at least ``threshold``; groups are the
    connected components, in the order of their first prompt.

    Args:
        tokens: (N, D) REN tokens, not normalised.
        points_yx: (N, 2) their prompts.
        threshold: The similarity μ.
        min_group: Groups of fewer prompts are dropped. If none is large enough the largest ones
            are kept instead, and the result says so (``relaxed``).

    Raises:
        ShapeError: If tokens and points do not fit each other.
        ConfigError: If ``min_group`` is below 1 or the threshold is no cosine.
    """
    _check(tokens, points_yx)
    if min_group < 1 or not -1 <= threshold <= 1:
        raise ConfigError(
            f"need min_group >= 1 and a threshold in -1..1, got {min_group=}, {threshold=}"
        )
    if len(tokens) == 0:
        return _nothing(tokens, points_yx)
    return _grouped(tokens, points_yx, _components(tokens, threshold), min_group)


def cluster(tokens: Tensor, points_yx: Tensor, regions: int) -> Aggregation:
    """Group the prompts of one image into at most so many regions, by k-means of their tokens.

    Every prompt is in a group; groups are in the order of their first prompt.

    Args:
        tokens: (N, D) REN tokens, not normalised.
        points_yx: (N, 2) their prompts.
        regions: The most groups.

    Raises:
        ShapeError: If tokens and points do not fit each other.
        ConfigError: If ``regions`` is below 1.
    """
    _check(tokens, points_yx)
    if regions < 1:
        raise ConfigError(f"need at least 1 region, got {regions}")
    if len(tokens) == 0:
        return _nothing(tokens, points_yx)
    found = kmeans_groups(tokens, points_yx, regions)
    return _grouped(tokens, points_yx, _in_order(found.cpu().numpy()), 1)


def _check(tokens: Tensor, points_yx: Tensor) -> None:
    if tokens.ndim != 2 or points_yx.shape != (len(tokens), 2):
        raise ShapeError(
            f"need tokens (N, D) and points_yx (N, 2), got {tuple(tokens.shape)} and "
            f"{tuple(points_yx.shape)}"
        )


def _nothing(tokens: Tensor, points_yx: Tensor) -> Aggregation:
    none = torch.zeros(0, dtype=torch.int64, device=tokens.device)
    return Aggregation(tokens, points_yx, none, none, none, relaxed=False)


def _grouped(
    tokens: Tensor, points_yx: Tensor, component: NDArray[np.int64], min_group: int
) -> Aggregation:
    """The groups of prompts with a number (N,) each, the small ones dropped."""
    sizes = np.bincount(component)
    relaxed = bool(sizes.max() < min_group)
    kept = sizes >= (sizes.max() if relaxed else min_group)
    renumbered = np.where(kept, np.cumsum(kept) - 1, -1)

    device = tokens.device
    group_index = torch.from_numpy(renumbered[component].astype(np.int64)).to(device)
    counts = torch.from_numpy(sizes[kept].astype(np.int64)).to(device)
    representatives = _most_central(points_yx, group_index, counts)
    return Aggregation(
        tokens=_group_mean(tokens, group_index, counts),
        points_yx=points_yx[representatives],
        group_index=group_index,
        counts=counts,
        representatives=representatives,
        relaxed=relaxed,
    )


def attach_dropped(tokens: Tensor, groups: Aggregation) -> Tensor:
    """Group index (N,) without -1: dropped prompts take the group of the most similar token."""
    index = groups.group_index.clone()
    dropped = index < 0
    if bool(dropped.any()):
        similarity = F.normalize(tokens[dropped], dim=-1) @ F.normalize(groups.tokens, dim=-1).T
        index[dropped] = similarity.argmax(dim=1)
    return index


def _components(tokens: Tensor, threshold: float) -> NDArray[np.int64]:
    """Component (N,) of every token, numbered by first member."""
    if tokens.is_cuda:
        first = first_members(tokens[None], threshold)[0].cpu().numpy()
        return np.unique(first, return_inverse=True)[1].astype(np.int64)
    unit = F.normalize(tokens.float(), dim=-1)
    N = len(unit)
    rows, columns = [], []
    for start in range(0, N, ROWS_AT_ONCE):
        similar = unit[start : start + ROWS_AT_ONCE] @ unit[start:].T >= threshold  # upper part
        edges = similar.cpu().numpy()
        row, column = np.divmod(np.flatnonzero(edges), edges.shape[1])
        rows.append(row + start)
        columns.append(column + start)
    row, column = np.concatenate(rows), np.concatenate(columns)
    graph = coo_array((np.ones(len(row), np.int8), (row, column)), shape=(N, N))
    return _in_order(connected_components(graph, directed=False)[1])


def _in_order(labels: NDArray[np.integer]) -> NDArray[np.int64]:
    """Groups (N,) numbered anew, by their first member."""
    _, first, index = np.unique(labels, return_index=True, return_inverse=True)
    order = np.empty(len(first), np.int64)
    order[np.argsort(first)] = np.arange(len(first))
    component: NDArray[np.int64] = order[index]
    return component


def _group_mean(values: Tensor, group_index: Tensor, counts: Tensor) -> Tensor:
    member = group_index >= 0
    total = values.new_zeros((len(counts), values.shape[1]), dtype=torch.float32)
    total.index_add_(0, group_index[member], values[member].float())
    return (total / counts[:, None]).to(values.dtype)


def _most_central(points_yx: Tensor, group_index: Tensor, counts: Tensor) -> Tensor:
    """Index (G,) of the prompt nearest to its group's centroid; the first one on ties."""
    points, group, size = points_yx.cpu().double(), group_index.cpu(), counts.cpu()
    centroid = _group_mean(points, group, size)
    distance = (points - centroid[group.clamp(min=0)]).square().sum(dim=1)
    order = np.lexsort((distance.numpy(), group.numpy()))
    dropped = int((group < 0).sum())
    starts = dropped + np.concatenate([[0], np.cumsum(size.numpy())[:-1]])
    return torch.from_numpy(order[starts].astype(np.int64)).to(points_yx.device)
