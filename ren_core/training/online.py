"""Batches whose views are drawn and encoded anew in every step: for large data and a GPU."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from ren_core.encoders.base import PatchEncoder
from ren_core.errors import DataError
from ren_core.training.batches import VALIDATION_STREAM
from ren_core.training.samples import (
    PromptSampling,
    RegionBatch,
    ViewSample,
    collate,
    regions_of_view,
)
from ren_core.training.sources import RegionSource
from ren_core.training.views import Image, ViewConfig, augment

LAST_BATCH = 2**40  # a data loader needs an end


@dataclass(frozen=True, slots=True)
class RawView:
    """A view before the encoder: (R, R, 3) uint8 and its regions as in ``ViewSample``."""

    image: Image
    labels: NDArray[np.int16]
    names: NDArray[np.int64]
    coverage: NDArray[np.uint8]
    group: str


@dataclass(frozen=True, kw_only=True, slots=True)
class OnlineConfig:
    """How batches are drawn.

    Attributes:
        views: The augmentation.
        pairs: Pictures per batch.
        sampling: Prompts of a view.
        seed: With the batch's number it decides everything, whatever worker makes it.
        held_out_every: Every such picture is kept for validation.
        held_out: Draw from the validation part.
        workers: Processes that draw views ahead; 0 draws them in this one.
        stride: Distance between the batch numbers that this process asks for.
    """

    views: ViewConfig
    pairs: int
    sampling: PromptSampling
    seed: int
    held_out_every: int = 50
    held_out: bool = False
    workers: int = 0
    stride: int = 1


class RawBatches(Dataset[list[RawView]]):
    """Batch ``number`` as two augmented views of each of its pictures."""

    def __init__(self, source: RegionSource, config: OnlineConfig, grid: int) -> None:
        self.source, self.config, self.grid = source, config, grid
        every = config.held_out_every
        self.pictures = [
            i for i in range(len(source.entries)) if (i % every == every - 1) == config.held_out
        ]
        if not self.pictures:
            raise DataError(
                f"{len(source.entries)} pictures leave none for "
                f"{'validation' if config.held_out else 'training'}; add some"
            )

    def __len__(self) -> int:
        return LAST_BATCH

    def __getitem__(self, number: int) -> list[RawView]:
        """Two views of each of ``pairs`` pictures; a picture is passed once per epoch."""
        views: list[RawView] = []
        for slot in range(self.config.pairs):
            epoch, place = divmod(number * self.config.pairs + slot, len(self.pictures))
            order = np.random.default_rng([self.config.seed, epoch]).permutation(self.pictures)
            stream = VALIDATION_STREAM if self.config.held_out else 0
            rng = np.random.default_rng([self.config.seed, stream, number, slot])
            views.extend(self._pair(int(order[place]), epoch, rng))
        return views

    def _pair(self, index: int, epoch: int, rng: np.random.Generator) -> Iterator[RawView]:
        picture = self.source.read(index, variant=epoch)
        for _ in range(2):
            view = augment(picture.image, picture.masks, self.config.views, rng)
            regions = regions_of_view(view, picture.names, self.grid)
            yield RawView(view.image, *regions, str(index))


class OnlineBatches:
    """Encode the views of each batch when it is asked for.

    Args:
        source: Pictures with regions.
        encoder: The frozen encoder, on its device.
        config: How batches are drawn.
        dtype: Of autocast in the encoder.
    """

    def __init__(
        self,
        source: RegionSource,
        encoder: PatchEncoder,
        config: OnlineConfig,
        *,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.encoder, self.config, self.dtype = encoder, config, dtype
        self.raw = RawBatches(source, config, encoder.spec.grid)
        self._ahead: Iterator[list[RawView]] = iter(())
        self._next = -1

    def batch(self, number: int) -> RegionBatch:
        """Batch ``number``; fast if numbers come ``stride`` apart."""
        views = self._raw_views(number)
        device = next(self.encoder.parameters()).device
        images = torch.from_numpy(np.stack([view.image for view in views])).permute(0, 3, 1, 2)
        enabled = self.dtype != torch.float32
        with torch.no_grad(), torch.autocast(device.type, self.dtype, enabled=enabled):
            features = self.encoder(images.to(device).float() / 255).features
        samples = [
            ViewSample(feature, view.labels, view.names, view.coverage)
            for feature, view in zip(features.float().cpu(), views, strict=True)
        ]
        stream = VALIDATION_STREAM if self.config.held_out else 0
        rng = np.random.default_rng([self.config.seed, stream, number, self.config.pairs])
        return collate(samples, [view.group for view in views], self.config.sampling, rng)

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
