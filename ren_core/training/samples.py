"""Views as the trainer needs them: features, the region of every pixel, region names, coverage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ren_core.errors import ConfigError
from ren_core.regions import mask_on_grid
from ren_core.training.losses import NO_REGION
from ren_core.training.sources import middle_region
from ren_core.training.views import View

MAX_REGIONS = 2**15 - 1
GROUP_STRIDE = 2**32
"""Region ids of a batch: number of the group times this, plus the name."""


@dataclass(frozen=True, slots=True)
class ViewSample:
    """One view of one picture.

    Attributes:
        features: (D, h, w) patch features.
        labels: (R, R) int16 index of the region that a prompt at each pixel stands for, -1 none.
        names: (M,) int64 region names, shared by the pictures of a group.
        coverage: (M, h, w) uint8, share of each patch that the region covers, 255 = all.
    """

    features: Tensor
    labels: NDArray[np.int16]
    names: NDArray[np.int64]
    coverage: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class RegionBatch:
    """V views with N prompts each; views 2i and 2i + 1 show the same group.

    Attributes:
        features: (V, D, h, w) float32.
        points_yx: (V, N, 2) int64 pixels of the views.
        region_ids: (V, N) int64, equal for the same object anywhere in the batch; -1 for none.
        targets: (V, N, D) float32 features pooled over each prompt's region; 0 where there is none.
        coverage: (V, N, h * w) float32 share of each patch that the prompt's region covers.
        image_size: Side R of the views, in pixels.
    """

    features: Tensor
    points_yx: Tensor
    region_ids: Tensor
    targets: Tensor
    coverage: Tensor
    image_size: int

    @property
    def valid(self) -> Tensor:
        """(V, N) bool: prompts that lie in a region."""
        return self.region_ids >= 0

    def to(self, device: torch.device) -> RegionBatch:
        """The same batch on another device."""
        return RegionBatch(
            self.features.to(device),
            self.points_yx.to(device),
            self.region_ids.to(device),
            self.targets.to(device),
            self.coverage.to(device),
            self.image_size,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class PromptSampling:
    """How prompts are drawn in a view.

    Attributes:
        count: Prompts per view, N.
        balance: 0 draws all pixels alike; 1 gives every region the same share; between, a region
            of a pixels gets a share in proportion to a ** (1 - balance).
        null_prompts: Also draw prompts where no region is, at the weight of their pixels.
    """

    count: int = 256
    balance: float = 0.0
    null_prompts: bool = True

    def __post_init__(self) -> None:
        if self.count < 1 or not 0 <= self.balance <= 1:
            raise ConfigError(
                f"need count >= 1 and balance in 0..1, got {self.count} and {self.balance}"
            )


def regions_of_view(
    view: View, names: NDArray[np.int64], grid: int
) -> tuple[NDArray[np.int16], NDArray[np.int64], NDArray[np.uint8]]:
    """Labels, names and coverage (see ``ViewSample``) of the regions that a view still shows."""
    seen = view.masks.any(axis=(1, 2))
    masks, kept = view.masks[seen][:MAX_REGIONS], names[seen][:MAX_REGIONS]
    labels = middle_region(masks).astype(np.int16)
    shares = [(mask_on_grid(mask, (grid, grid)) * 255).round() for mask in masks]
    coverage = np.array(shares, np.uint8).reshape(len(masks), grid, grid)
    return labels, kept, coverage


def draw_prompts(
    labels: NDArray[np.int16], sampling: PromptSampling, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Flat pixel indices (N,) of a label map (R, R), without replacement if there are enough."""
    flat = labels.ravel().astype(np.int64)
    weight = np.ones(len(flat))
    if not sampling.null_prompts:
        weight[flat < 0] = 0
    if sampling.balance > 0:
        counts = np.bincount(flat + 1)
        weight *= counts[flat + 1] ** -sampling.balance
    total = weight.sum()
    if total == 0:  # no region at all: prompts without one
        return rng.integers(0, len(flat), sampling.count)
    enough = np.count_nonzero(weight) >= sampling.count
    if sampling.balance == 0 and enough:
        return rng.choice(np.flatnonzero(weight), sampling.count, replace=False)
    edges = np.cumsum(weight)
    at = np.searchsorted(edges, rng.random(sampling.count) * total, side="right")
    return at.clip(0, len(flat) - 1)


def collate(
    samples: Sequence[ViewSample],
    groups: Sequence[str],
    sampling: PromptSampling,
    rng: np.random.Generator,
) -> RegionBatch:
    """Draw prompts in every view and look up their regions.

    Args:
        samples: V views of equal size.
        groups: (V,) group of each view; equal groups share region names.
        sampling: How prompts are drawn.
        rng: Decides the prompts.
    """
    numbers = {group: number for number, group in enumerate(dict.fromkeys(groups))}
    size = samples[0].labels.shape[0]
    points, ids, targets, coverages = [], [], [], []
    for sample, group in zip(samples, groups, strict=True):
        at = draw_prompts(sample.labels, sampling, rng)
        region = sample.labels.ravel()[at].astype(np.int64)
        names = np.append(sample.names, 0)[region]
        points.append(torch.from_numpy(np.stack(np.divmod(at, size), axis=-1)))
        ids.append(
            torch.from_numpy(
                np.where(region >= 0, numbers[group] * GROUP_STRIDE + names, NO_REGION)
            )
        )
        shares = torch.from_numpy(sample.coverage).flatten(1).float() / 255  # (M, P)
        shares = torch.cat([shares, shares.new_zeros(1, shares.shape[1])])  # row -1: no region
        pooled = shares @ sample.features.flatten(1).float().T
        pooled /= shares.sum(dim=1, keepdim=True).clamp(min=1e-6)
        index = torch.from_numpy(region)
        targets.append(pooled[index])
        coverages.append(shares[index])
    return RegionBatch(
        torch.stack([sample.features for sample in samples]).float(),
        torch.stack(points),
        torch.stack(ids),
        torch.stack(targets),
        torch.stack(coverages),
        size,
    )
