"""Region masks from SAM 2's automatic mask generator."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from torch import nn

from ren_core.configuration import GridSize, Share, configuration
from ren_core.errors import ShapeError
from ren_core.images import Image
from ren_core.regions import Rle
from ren_core.sam2.model import fit_feature_sizes


@configuration()
class Sam2MaskConfig:
    """Arguments of the generator; it would silently ignore a misspelt one.

    Attributes:
        points_per_side: Prompts per side of the image.
        points_per_batch: Prompts that are decoded at once.
        pred_iou_thresh: Least quality that the network predicts for a mask.
        stability_score_thresh: Least stability of a mask under a shifted threshold.
        box_nms_thresh: Masks whose boxes overlap more than this are duplicates.
        min_mask_region_area: Smaller islands and holes are removed, in pixels.
    """

    points_per_side: GridSize = 32
    points_per_batch: Annotated[int, Field(ge=1, le=128**2)] = 64
    pred_iou_thresh: Share = 0.8
    stability_score_thresh: Share = 0.9
    box_nms_thresh: Share = 0.7
    min_mask_region_area: Annotated[int, Field(ge=0, le=4096**2)] = 0


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
