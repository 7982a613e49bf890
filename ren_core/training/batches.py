"""Batches of view pairs drawn from cached views; a batch depends on its number alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch

from ren_core.errors import ConfigError
from ren_core.training.feature_cache import FeatureCache
from ren_core.training.pairs import PairRules, split_sources
from ren_core.training.samples import PromptSampling, RegionBatch, ViewSample, collate

VALIDATION_STREAM = 2**31


class Batch(Protocol):
    """What an objective takes."""

    def to(self, device: torch.device) -> Batch:
        """The same batch on another device."""
        ...


class BatchSource(Protocol):
    """Gives batches by number; the same number always gives the same batch."""

    def batch(self, number: int) -> Batch:
        """Batch ``number``, 0 or more."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class CachedSource(PairRules):
    """A cache of views, and how pairs are drawn from it.

    Attributes:
        cache: The views.
    """

    cache: FeatureCache


@dataclass(frozen=True, slots=True)
class CachedBatches:
    """Pairs of cached views.

    Attributes:
        sources: Where pairs come from.
        pairs: Pairs per batch.
        sampling: Prompts of a view.
        seed: With the batch's number it decides everything.
        held_out: Draw from the validation part.
    """

    sources: Sequence[CachedSource]
    pairs: int
    sampling: PromptSampling
    seed: int
    held_out: bool = False
    _groups: list[list[list[int]]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        rules = [(source, source.cache.entries) for source in self.sources]
        groups = split_sources(rules, held_out=self.held_out)
        object.__setattr__(self, "_groups", groups)
        for source, pictures in zip(self.sources, groups, strict=True):
            alone = not source.cross_frame or any(len(p) < 2 for p in pictures)
            if source.cache.views_per_image < 2 and alone:
                raise ConfigError(
                    "a pair from one picture needs at least 2 views of it; raise views_per_image"
                )

    def batch(self, number: int) -> RegionBatch:
        """Batch ``number``: different groups, two views of each."""
        stream = VALIDATION_STREAM if self.held_out else 0
        rng = np.random.default_rng([self.seed, stream, number])
        samples: list[ViewSample] = []
        names: list[str] = []
        for which, group in self._draw_groups(rng):
            samples.extend(self._draw_pair(self.sources[which], group, rng))
            names.extend([f"{which}/{group[0]}"] * 2)
        return collate(samples, names, self.sampling, rng)

    def _draw_groups(self, rng: np.random.Generator) -> list[tuple[int, list[int]]]:
        """Sources and groups of one batch; a group comes twice only if there are too few."""
        weights = np.array([source.weight for source in self.sources])
        counts = np.bincount(
            rng.choice(len(weights), self.pairs, p=weights / weights.sum()), minlength=len(weights)
        )
        drawn = []
        for which, count in enumerate(counts):
            groups = self._groups[which]
            for index in rng.choice(len(groups), count, replace=count > len(groups)):
                drawn.append((which, groups[index]))
        return drawn

    def _draw_pair(
        self, source: CachedSource, pictures: list[int], rng: np.random.Generator
    ) -> list[ViewSample]:
        views = source.cache.views_per_image
        first, second = source.draw(pictures, rng)
        if first == second:
            a, b = rng.choice(views, 2, replace=False)
        else:
            a, b = rng.integers(views), rng.integers(views)
        return [source.cache.read(first, int(a)), source.cache.read(second, int(b))]
