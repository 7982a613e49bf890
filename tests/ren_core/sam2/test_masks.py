"""The arguments of SAM 2's automatic mask generator."""

from __future__ import annotations

import numpy as np
import pytest

from ren_core.errors import ConfigError, ShapeError
from ren_core.sam2.masks import Sam2Masks
from ren_core.sam2.settings import Sam2MaskConfig


def test_sam2_masks_are_made_as_for_the_paper():
    assert Sam2MaskConfig() == Sam2MaskConfig(
        points_per_side=32,
        points_per_batch=64,
        pred_iou_thresh=0.8,
        stability_score_thresh=0.9,
        box_nms_thresh=0.7,
        min_mask_region_area=0,
    )


def test_sam2_arguments_are_checked():
    with pytest.raises(ConfigError, match=r"'stability_thresh'.*stability_score_thresh"):
        Sam2MaskConfig(stability_thresh=0.9)
    with pytest.raises(ConfigError, match="stability_score_thresh"):
        Sam2MaskConfig(stability_score_thresh=90)
    with pytest.raises(ConfigError, match="points_per_side"):
        Sam2MaskConfig(points_per_side=0)


def test_sam2_takes_uint8_only():
    pytest.importorskip("sam2")
    masks = object.__new__(Sam2Masks)
    with pytest.raises(ShapeError, match="uint8"):
        masks(np.zeros((8, 8, 3), np.float32))
