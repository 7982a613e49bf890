"""The regions of one image: what REN gives for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ren_core.aggregation import Aggregation, attach_dropped
from ren_core.errors import ShapeError
from ren_core.prompts import PointPrompts
from ren_core.regions import region_labels


@dataclass(frozen=True)
class RegionTokens:
    """The regions of one image.

    Attributes:
        tokens: (G, D) float32 REN tokens, not normalised; without aggregation G = N.
        points_yx: (G, 2) float32 (row, column) of each region's most central prompt, in pixels of
            the given image.
        counts: (G,) prompts of each region.
        group_index: (N,) region of every prompt; -1 where it was dropped.
        prompts: The prompts, at model resolution, with the pixels that each stands for.
        size_hw: Height and width of the given image.
        relaxed: True if every group was below the minimum size, so that the largest were kept.
        prompt_tokens: (N, D) float32 REN token of every prompt, before merging, not normalised.
        prompt_patches: (N, D) float32 unit feature of the patch that holds each prompt; None
            unless ``encode`` was asked for them.
    """

    tokens: Tensor
    points_yx: Tensor
    counts: Tensor
    group_index: Tensor
    prompts: PointPrompts
    size_hw: tuple[int, int]
    relaxed: bool
    prompt_tokens: Tensor
    prompt_patches: Tensor | None
    _groups: Aggregation | None
    _align: Callable[[Tensor], Tensor]

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def is_merged(self) -> bool:
        """Whether regions are groups of prompts; else each prompt is a region of its own."""
        return self._groups is not None

    @cached_property
    def prompt_aligned(self) -> Tensor:
        """(N, D) float32: the prompts' tokens in the space of the encoder's features."""
        with torch.no_grad():
            return self._align(self.prompt_tokens).float()

    @cached_property
    def aligned_tokens(self) -> Tensor:
        """(G, D) float32: means of the prompts' tokens in the space of the encoder's features."""
        return self.pool(self.prompt_aligned)

    def pool(self, values: Tensor) -> Tensor:
        """Mean (G, D') over each region of values (N, D') given per prompt."""
        return values if self._groups is None else self._groups.pool(values)

    def labels(self, *, cover: bool = False) -> NDArray[np.int32]:
        """Which region each pixel of the model's square image belongs to, (R, R); -1 for none.

        Args:
            cover: Give dropped prompts to the most similar region, so that every pixel has one.

        Raises:
            ShapeError: If the prompts are bare points that stand for no area.
        """
        if self.prompts.labels is None:
            raise ShapeError("these prompts are single points; regions need grid or SLIC prompts")
        index = self.group_index
        if cover and self._groups is not None:
            index = attach_dropped(self.prompt_tokens, self._groups)
        return region_labels(self.prompts.labels, index.cpu().numpy())
