"""Which SAM 2.1 networks there are and what its mask generator may be told; needs no torch."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ren_core.configuration import GridSize, Share, configuration

SIZES = {
    "sam2.1_hiera_t": "sam2.1-hiera-tiny",
    "sam2.1_hiera_s": "sam2.1-hiera-small",
    "sam2.1_hiera_b+": "sam2.1-hiera-base-plus",
    "sam2.1_hiera_l": "sam2.1-hiera-large",
}
"""Official names of the networks, and our names of their weight files."""


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
