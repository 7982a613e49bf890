"""Batches of windows with prompts drawn anew; a batch depends on its number alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from ren_core.configuration import Share, configuration
from ren_core.encoders.base import FeatureLevels
from ren_core.geometry import Boxes, depth_inside, mask_to_box
from ren_core.mask_prompts import MaskPrompt, prompt_maps
from ren_core.training.batches import VALIDATION_STREAM
from ren_core.training.masks.windows import WindowCache, WindowSample

Floats = NDArray[np.float32]


@configuration()
class PromptDraw:
    """How prompts are drawn from a thing's true mask.

    Attributes:
        box: Weight of a box alone.
        point: Weight of one to three points alone.
        both: Weight of a box and one point.
        rough: Weight of a rough mask, with a point in one of two cases.
        loose: A box's sides move outwards by up to this share of them, inwards by up to a quarter
            of that.
        middle: Chance that points lie in the thing's middle, not anywhere in it.
        reference: Chance that the thing is seen in another picture too.
    """

    box: Annotated[float, Field(ge=0)] = 0.3
    point: Annotated[float, Field(ge=0)] = 0.3
    both: Annotated[float, Field(ge=0)] = 0.15
    rough: Annotated[float, Field(ge=0)] = 0.25
    loose: Share = 0.2
    middle: Share = 0.6
    reference: Share = 0.7


@dataclass(frozen=True, slots=True)
class MaskBatch:
    """B windows with one prompt each.

    Attributes:
        levels: Features of the windows, float32.
        maps: (B, 4, 4g, 4g) the prompts.
        reference: (B, D + 1, g, g) the things in other pictures, see ``reference_maps``.
        shares: (B, 4g, 4g) float32, how much of each cell the thing covers, 0..1.
    """

    levels: FeatureLevels
    maps: Tensor
    reference: Tensor
    shares: Tensor

    def to(self, device: torch.device) -> MaskBatch:
        """The same batch on another device."""
        own = self.levels
        levels = FeatureLevels(own.patches.to(device), own.middle.to(device), own.fine.to(device))
        return MaskBatch(
            levels, self.maps.to(device), self.reference.to(device), self.shares.to(device)
        )


@dataclass(frozen=True, slots=True)
class WindowUse:
    """How windows of one source are used.

    Attributes:
        cache: The windows.
        weight: Share of the batches, relative to the other sources.
        held_out: Numbers of the pictures that are kept for validation.
    """

    cache: WindowCache
    weight: float
    held_out: frozenset[int]


@dataclass(frozen=True, slots=True)
class MaskBatches:
    """Windows of several sources.

    Attributes:
        uses: Where windows come from.
        size: Windows per batch.
        draw: How prompts are drawn.
        seed: With the batch's number it decides everything.
        held_out: Draw from the pictures kept for validation.
    """

    uses: Sequence[WindowUse]
    size: int
    draw: PromptDraw
    seed: int
    held_out: bool = False
    _pictures: list[list[int]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        pictures = [
            [i for i in range(use.cache.pictures) if (i in use.held_out) == self.held_out]
            for use in self.uses
        ]
        object.__setattr__(self, "_pictures", pictures)

    def batch(self, number: int) -> MaskBatch:
        """Batch ``number``."""
        stream = VALIDATION_STREAM if self.held_out else 0
        rng = np.random.default_rng([self.seed, stream, number])
        weights = np.array(
            [u.weight * bool(p) for u, p in zip(self.uses, self._pictures, strict=True)]
        )
        samples: list[WindowSample] = []
        while len(samples) < self.size:
            which = int(rng.choice(len(weights), p=weights / weights.sum()))
            cache = self.uses[which].cache
            picture = int(rng.choice(self._pictures[which]))
            sample = cache.read(picture, int(rng.integers(cache.per_picture)))
            if sample is not None and (sample.shares >= 128).any():
                mirror = not self.held_out and rng.random() < 0.5
                samples.append(mirrored(sample) if mirror else sample)
        return collate(samples, self.draw, rng)


def mirrored(sample: WindowSample) -> WindowSample:
    """A window with left and right exchanged, its reference as it is.

    The features are mirrored, not the picture, of which the encoder would make nearly the same.
    """
    patches, middle, fine = (level.flip(-1) for level in sample.levels)
    shares = np.ascontiguousarray(sample.shares[:, ::-1])
    return WindowSample((patches, middle, fine), shares, sample.reference)


def collate(
    samples: Sequence[WindowSample], draw: PromptDraw, rng: np.random.Generator
) -> MaskBatch:
    """Windows with prompts drawn from their masks."""
    side = samples[0].shares.shape[0]
    shares = [sample.shares.astype(np.float32) / np.float32(255) for sample in samples]
    maps = [prompt_maps(draw_prompt(share, draw, rng), (side, side), side) for share in shares]
    levels = (
        torch.stack(level).float() for level in zip(*(s.levels for s in samples), strict=True)
    )
    given = torch.from_numpy(rng.random(len(samples)) < draw.reference)
    reference = torch.stack([sample.reference for sample in samples]).float()
    return MaskBatch(
        FeatureLevels(*levels),
        torch.from_numpy(np.stack(maps)),
        reference * given[:, None, None, None],
        torch.from_numpy(np.stack(shares)),
    )


def draw_prompt(share: Floats, draw: PromptDraw, rng: np.random.Generator) -> MaskPrompt:
    """A prompt for a thing that covers shares (S, S) of cells, in cells."""
    weights = np.array([draw.box, draw.point, draw.both, draw.rough])
    kind = ("box", "point", "both", "rough")[int(rng.choice(4, p=weights / weights.sum()))]
    mask = share >= 0.5
    box = points = rough = None
    if kind in ("box", "both"):
        box = _loose_box(mask, draw.loose, rng)
    if kind == "rough":
        rough = rough_mask(share, rng)
    if kind in ("point", "both") or (kind == "rough" and rng.random() < 0.5):
        count = int(rng.integers(1, 4)) if kind == "point" and rng.random() < 0.3 else 1
        points = _points(mask, count, draw.middle, rng)
    return MaskPrompt(box, points, rough)


def _loose_box(mask: NDArray[np.bool_], loose: float, rng: np.random.Generator) -> Boxes:
    box = mask_to_box(mask)
    assert box is not None
    sides = np.tile(box[2:] - box[:2], 2)
    most = rng.uniform(0, loose)  # some boxes are tight on all sides
    outwards = rng.uniform(-most / 4, most, 4) * sides
    return (box + outwards * np.array([-1, -1, 1, 1])).astype(np.float32)


def _points(mask: NDArray[np.bool_], count: int, middle: float, rng: np.random.Generator) -> Floats:
    depth = depth_inside(mask)
    deep = depth >= 0.6 * depth.max() if rng.random() < middle else mask
    rows, columns = np.nonzero(deep)
    chosen = rng.integers(len(rows), size=count)
    inside = rng.uniform(0, 1, (count, 2))
    return np.stack([columns[chosen] + inside[:, 0], rows[chosen] + inside[:, 1]], 1).astype(
        np.float32
    )


def rough_mask(share: Floats, rng: np.random.Generator) -> Floats:
    """Shares (S, S) as another look may give them: moved, thicker or thinner, coarse, cut."""
    S = share.shape[0]
    rows, columns = np.nonzero(share >= 0.5)
    size = max(np.ptp(rows), np.ptp(columns)) + 1
    scale = float(rng.uniform(0.85, 1.18))
    centre = (float(columns.mean()), float(rows.mean()))
    move = cv2.getRotationMatrix2D(centre, float(rng.uniform(-10, 10)), scale)
    move[:, 2] += rng.uniform(-0.15, 0.15, 2) * size
    rough = cv2.warpAffine(share, move, (S, S))
    radius = int(rng.integers(0, max(2, size // 8)))
    kernel = np.ones((2 * radius + 1,) * 2, np.uint8)
    rough = (cv2.dilate if rng.random() < 0.5 else cv2.erode)(rough, kernel)
    if rng.random() < 0.5:  # cells of patches: the thing is one and a half to six of them long
        cells = int(np.clip(S * rng.uniform(1.5, 6) / size, 2, S))
        small = cv2.resize(rough, (cells, cells), interpolation=cv2.INTER_AREA)
        coarse = (small > 0.4).astype(np.float32)
        rough = cv2.resize(coarse, (S, S), interpolation=cv2.INTER_NEAREST)
    if rng.random() < 0.2:  # a part is missing
        y, x = rows[int(rng.integers(len(rows)))], columns[int(rng.integers(len(rows)))]
        cv2.circle(rough, (int(x), int(y)), max(1, size // 4), 0.0, -1)
    if rough.max() < 0.5:
        return share
    return rough.astype(np.float32)
