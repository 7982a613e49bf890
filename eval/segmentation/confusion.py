"""Mean intersection over union from a confusion matrix that grows image by image."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ren_core.errors import ShapeError

VOID = 255
"""Label of pixels that no figure counts."""

Labels = NDArray[np.uint8]
"""(H, W) class of every pixel, or ``VOID``."""

Counts = NDArray[np.int64]


def confusion(truth: Labels, predicted: Labels, num_classes: int) -> Counts:
    """Pixel counts (C, C) of one image: rows are true classes, columns predicted ones.

    >>> t = np.array([[0, 1, VOID]], np.uint8); p = np.array([[0, 0, 1]], np.uint8)
    >>> confusion(t, p, 2).tolist()
    [[1, 0], [1, 0]]

    Args:
        truth: (H, W) labels; void pixels are left out, whatever was predicted there.
        predicted: (H, W) classes.
        num_classes: C.

    Raises:
        ShapeError: If the sizes differ, or a pixel that counts has no class of 0..C-1.
    """
    if truth.shape != predicted.shape:
        raise ShapeError(
            f"truth is {truth.shape} and prediction {predicted.shape}; resize one to the other"
        )
    counted = truth != VOID
    true, guess = truth[counted].astype(np.int64), predicted[counted].astype(np.int64)
    for name, values in (("truth", true), ("prediction", guess)):
        if values.size and not 0 <= values.min() <= values.max() < num_classes:
            raise ShapeError(
                f"the {name} holds values {values.min()}..{values.max()}, but the classes are "
                f"0..{num_classes - 1}; map the labels to classes first"
            )
    cells: Counts = np.bincount(true * num_classes + guess, minlength=num_classes**2)
    return cells.reshape(num_classes, num_classes).astype(np.int64)


def class_iou(counts: Counts) -> NDArray[np.float64]:
    """IoU (C,) of every class; NaN where a class is neither true nor predicted anywhere.

    A class that is predicted but never true has IoU 0.
    """
    both = np.diag(counts).astype(np.float64)
    either = counts.sum(0) + counts.sum(1) - both
    iou: NDArray[np.float64] = np.divide(
        both, either, out=np.full(len(both), np.nan), where=either > 0
    )
    return iou


def mean_iou(counts: Counts) -> float:
    """Mean IoU of the classes that have one; NaN if none has."""
    iou = class_iou(counts)
    known = iou[~np.isnan(iou)]
    return float(known.mean()) if known.size else float("nan")


def pixel_accuracy(counts: Counts) -> float:
    """Share of the counted pixels whose class is right; NaN without pixels."""
    total = counts.sum()
    return float(np.trace(counts) / total) if total else float("nan")
