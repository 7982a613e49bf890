"""Workers that make region masks with SAM 2."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from ren_core.code_identity import code_digest
from ren_core.command import check_device
from ren_core.images import Image
from ren_core.regions import Rle
from ren_core.sam2.masks import Sam2Masks
from ren_core.sam2.model import Sam2Model
from ren_core.sam2.settings import Sam2MaskConfig
from ren_core.stages import file_fingerprint
from ren_core.training.rle_store import ShardWriter

MASKING = "ren_core.sam2.masks"
"""The module whose code decides the masks, with all that it imports."""


@dataclass(frozen=True, slots=True)
class Sam2Recipe:
    """All that a machine needs to know to build a ``ShardWriter``.

    Attributes:
        model: Name of a SAM 2.1.
        weights: Its file, absolute.
        device: Of torch.
        dtype: Of torch.
        config: Of the generator.
    """

    model: str
    weights: Path
    device: str
    dtype: torch.dtype
    config: Sam2MaskConfig

    def __call__(self) -> ShardWriter:
        """Load the model, in the process that calls this.

        Raises:
            ConfigError: If the device cannot be used.
            DataError: If the weights cannot be read.
        """
        check_device(self.device)
        model = Sam2Model.from_checkpoint(
            self.model, self.weights, device=self.device, dtype=self.dtype
        )
        masks = Sam2Masks(model.network, self.config)

        def make_masks(image: Image) -> Sequence[Rle]:
            with model.inference():
                return masks(image)

        return ShardWriter(make_masks, self.identity)

    @property
    def identity(self) -> Mapping[str, str]:
        """Of any worker by this recipe."""
        return {"code": code_digest(MASKING), "weights": file_fingerprint(self.weights)}
