"""Regions of an image as label maps, masks and COCO shapes, and features pooled over them."""

from __future__ import annotations

from typing import Any, TypedDict

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ren_core.errors import ShapeError
from ren_core.geometry import Mask

Masks = NDArray[np.bool_]
"""(M, H, W), one mask per region."""


class Rle(TypedDict):
    """COCO run lengths of one mask: ``size`` is (height, width), ``counts`` is compressed text."""

    size: list[int]
    counts: str


def region_labels(
    prompt_labels: NDArray[np.int32], group_index: NDArray[np.int64]
) -> NDArray[np.int32]:
    """Which group each pixel belongs to, (R, R); -1 where its prompt was dropped.

    Args:
        prompt_labels: (R, R) prompt of each pixel, ``PointPrompts.labels``.
        group_index: (N,) group of each prompt, ``Aggregation.group_index``; ``attach_dropped``
            gives one without -1, and then the regions cover every pixel exactly once.

    Raises:
        ShapeError: If the map names a prompt that has no group index.
    """
    if prompt_labels.size and int(prompt_labels.max()) >= len(group_index):
        raise ShapeError(
            f"the label map names prompt {int(prompt_labels.max())}, but there are only "
            f"{len(group_index)} group indices"
        )
    labels: NDArray[np.int32] = group_index[prompt_labels].astype(np.int32)
    return labels


def region_masks(labels: NDArray[np.int32], num_regions: int) -> Masks:
    """One mask per region, (G, R, R), of a label map (R, R)."""
    masks: Masks = labels[None] == np.arange(num_regions)[:, None, None]
    return masks


def decode_coco(segmentation: Any, size_hw: tuple[int, int]) -> Mask:  # noqa: ANN401 - JSON
    """Mask (H, W) of a COCO segmentation: polygons, or run lengths as numbers or as text."""
    from pycocotools import mask as coco_mask

    shape = segmentation
    if isinstance(shape, list):
        shape = coco_mask.merge(coco_mask.frPyObjects(shape, *size_hw))
    elif isinstance(shape["counts"], list):
        shape = coco_mask.frPyObjects(shape, *size_hw)
    mask: Mask = coco_mask.decode(shape).astype(bool)
    return mask


def mask_on_grid(mask: Mask | NDArray[np.float32], grid_hw: tuple[int, int]) -> NDArray[np.float32]:
    """Share (h, w) of every grid cell that a mask (H, W) covers, 0..1; pixels may have shares too.

    >>> mask_on_grid(np.eye(4, dtype=bool), (2, 2)).tolist()
    [[0.5, 0.0], [0.0, 0.5]]
    """
    (H, W), (h, w) = mask.shape, grid_hw
    # repeated where it is smaller than the grid, since the resizing of areas only shrinks
    mask = mask.repeat(-(-h // H), axis=0).repeat(-(-w // W), axis=1)
    share: NDArray[np.float32] = cv2.resize(
        mask.astype(np.float32), (w, h), interpolation=cv2.INTER_AREA
    )
    return share


def pool_labels(features: Tensor, labels: NDArray[np.int32], count: int) -> Tensor:
    """Means (N, D) float32 of patches over labelled areas, by the pixels that both share.

    Args:
        features: (D, h, w), of any floating-point type.
        labels: (R, R) label of every pixel, each of 0..N-1 at least once.
        count: N.
    """
    h, w = features.shape[-2:]
    rows = np.arange(labels.shape[0]) * h // labels.shape[0]
    columns = np.arange(labels.shape[1]) * w // labels.shape[1]
    patch = rows[:, None] * w + columns
    shared = np.bincount((labels.astype(np.int64) * h * w + patch).ravel(), minlength=count * h * w)
    weights = torch.from_numpy(shared.reshape(count, h * w)).float()
    return (weights / weights.sum(1, keepdim=True)) @ features.flatten(1).T.float()
