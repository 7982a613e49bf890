"""Batches whose views are drawn and encoded anew in every step: for large data and a GPU."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch.utils.data import DataLoader, Dataset

from ren_core.configuration import Count, Seed, configuration
from ren_core.encoders.base import PatchEncoder
from ren_core.engine.choice import autocast
from ren_core.images import Image
from ren_core.training.batches import VALIDATION_STREAM
from ren_core.training.pairs import PairRules, build_schedule, split_sources
from ren_core.training.samples import (
    PromptSampling,
    RegionBatch,
    ViewSample,
    collate,
    regions_of_view,
)
from ren_core.training.sources import RegionSource
from ren_core.training.views import ViewConfig, augment

LAST_BATCH = 2**40  # a data loader needs an end


@dataclass(frozen=True, slots=True)
class RawView:
    """A view before the encoder.

    Attributes:
        image: (R, R, 3) uint8.
        labels: As in ``ViewSample``.
        names: As there.
        coverage: As there.
        source: Number of the source.
        group: First picture of the group; views of one group share region names.
    """

    image: Image
    labels: NDArray[np.int16]
    names: NDArray[np.int64]
    coverage: NDArray[np.uint8]
    source: int
    group: int


@dataclass(frozen=True, kw_only=True, slots=True)
class OnlineSource(PairRules):
    """A region source, and how pairs are drawn from it.

    Attributes:
        regions: Pictures with regions.
    """

    regions: RegionSource


@configuration()
class OnlineConfig:
    """How batches are drawn.

    Attributes:
        views: The augmentation.
        pairs: Pairs of views per batch.
        sampling: Prompts of a view.
        seed: With the batch's number it decides everything, whatever worker makes it.
        held_out: Draw from the validation part.
        workers: Processes that draw views ahead; 0 draws them in this one.
        stride: Distance between the batch numbers that this process asks for.
    """

    views: ViewConfig
    pairs: Count
    sampling: PromptSampling
    seed: Seed
    held_out: bool = False
    workers: Annotated[int, Field(ge=0, le=1024)] = 0
    stride: Count = 1


class RawBatches(Dataset[list[RawView]]):
    """Batch ``number`` as pairs of augmented views; an epoch of a source shows each group once.

    Args:
        sources: Where pairs come from.
        config: How batches are drawn.
        grid: Patches per side of the encoder.

    Raises:
        DataError: If a source has no group for training, or for validation.
    """

    def __init__(self, sources: Sequence[OnlineSource], config: OnlineConfig, grid: int) -> None:
        self.sources, self.config, self.grid = sources, config, grid
        rules = [(source, source.regions.entries) for source in sources]
        self.groups = split_sources(rules, held_out=config.held_out)
        self.schedule = build_schedule([source.weight for source in sources], config.seed)

    def __len__(self) -> int:
        return LAST_BATCH

    def __getitem__(self, number: int) -> list[RawView]:
        """Two views of each of ``pairs`` groups; which groups follows from the number alone."""
        config = self.config
        views: list[RawView] = []
        stream = VALIDATION_STREAM if config.held_out else 0
        orders: dict[tuple[int, int], NDArray[np.int64]] = {}
        for slot in range(config.pairs):
            which, count = self.schedule.at(number * config.pairs + slot)
            groups = self.groups[which]
            epoch, place = divmod(count, len(groups))
            if (which, epoch) not in orders:
                order = np.random.default_rng([config.seed, epoch, which]).permutation(len(groups))
                orders[which, epoch] = order
            rng = np.random.default_rng([config.seed, stream, number, slot])
            group = groups[orders[which, epoch][place]]
            views += self._pair(which, group, epoch=epoch, rng=rng)
        return views

    def _pair(
        self, which: int, group: list[int], *, epoch: int, rng: np.random.Generator
    ) -> Iterator[RawView]:
        source = self.sources[which]
        first, second = source.draw(group, rng)
        picture = source.regions.read(first, variant=epoch)
        others = picture if second == first else source.regions.read(second, variant=epoch)
        for shown in (picture, others):
            view = augment(shown.image, shown.masks, self.config.views, rng)
            regions = regions_of_view(view, shown.names, self.grid)
            yield RawView(view.image, *regions, which, group[0])


class OnlineBatches:
    """Encode the views of each batch when it is asked for.

    Args:
        sources: Where pairs come from.
        encoder: The frozen encoder, on its device.
        config: How batches are drawn.
        dtype: Of autocast in the encoder.
    """

    def __init__(
        self,
        sources: Sequence[OnlineSource],
        encoder: PatchEncoder,
        config: OnlineConfig,
        *,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.encoder, self.config, self.dtype = encoder, config, dtype
        self.raw = RawBatches(sources, config, encoder.spec.grid)
        self._ahead: Iterator[list[RawView]] = iter(())
        self._next = -1

    def batch(self, number: int) -> RegionBatch:
        """Batch ``number``; workers draw ahead as long as numbers come ``stride`` apart."""
        views = self._raw_views(number)
        device = next(self.encoder.parameters()).device
        images = torch.from_numpy(np.stack([view.image for view in views])).permute(0, 3, 1, 2)
        with torch.no_grad(), autocast(device, self.dtype):
            features = self.encoder(images.to(device).float() / 255).features
        samples = [
            ViewSample(feature, view.labels, view.names, view.coverage)
            for feature, view in zip(features.float().cpu(), views, strict=True)
        ]
        stream = VALIDATION_STREAM if self.config.held_out else 0
        rng = np.random.default_rng([self.config.seed, stream, number, self.config.pairs])
        groups = [f"{view.source}/{view.group}" for view in views]
        return collate(samples, groups, self.config.sampling, rng)

    def _raw_views(self, number: int) -> list[RawView]:
        if self.config.workers == 0:
            return self.raw[number]
        if number != self._next:
            loader = DataLoader(
                self.raw,
                batch_size=None,
                sampler=range(number, LAST_BATCH, self.config.stride),
                num_workers=self.config.workers,
                collate_fn=_as_is,
            )
            self._ahead = iter(loader)
        self._next = number + self.config.stride
        return next(self._ahead)


def _as_is(views: list[RawView]) -> list[RawView]:
    return views
