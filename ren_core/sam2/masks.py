"""Region masks from SAM 2's automatic mask generator."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch
from torch import nn

from ren_core.errors import ShapeError
from ren_core.images import Image
from ren_core.regions import Rle
from ren_core.sam2.model import fit_feature_sizes
from ren_core.sam2.settings import Sam2MaskConfig


class Sam2Masks:
    """All masks of an image, as COCO RLE.

    Args:
        network: A SAM 2 network (``SAM2Base``) with its weights, on its device.
        config: Arguments of the generator.
    """

    def __init__(self, network: nn.Module, config: Sam2MaskConfig) -> None:
        from sam2.automatic_mask_generator import SAM2AutomaticMaskGenerator

        self._generator: Any = SAM2AutomaticMaskGenerator(
            network, output_mode="coco_rle", **dataclasses.asdict(config)
        )
        fit_feature_sizes(self._generator.predictor)

    def __call__(self, image: Image) -> list[Rle]:
        """Masks of an image (H, W, 3) uint8 RGB, largest predicted quality first; may be empty.

        Raises:
            ShapeError: If the image is not uint8 RGB; SAM 2 would take floats of another range.
        """
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise ShapeError(f"SAM 2 needs (H, W, 3) uint8 RGB, got {image.shape} {image.dtype}")
        with torch.inference_mode():
            found: list[dict[str, Any]] = self._generator.generate(image)
        found.sort(key=lambda mask: -float(mask["predicted_iou"]))
        return [mask["segmentation"] for mask in found]

    def encode_image(self, image: Image) -> None:
        """Only the part of a call that does not depend on prompts: the image encoder."""
        self._generator.predictor.set_image(image)
        self._generator.predictor.reset_predictor()
