"""Confusion, IoU and pixel accuracy against brute force; empty and damaged input."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.segmentation.confusion import VOID, class_iou, confusion, mean_iou, pixel_accuracy
from ren_core.errors import ShapeError


def brute_force_iou(truths, predictions, num_classes):
    """IoU by its definition: sets of pixels (image, row, column) of the whole data set."""
    figures = []
    for c in range(num_classes):
        true, guess = set(), set()
        for i, (t, p) in enumerate(zip(truths, predictions, strict=True)):
            for y, x in np.ndindex(t.shape):
                if t[y, x] == VOID:
                    continue
                if t[y, x] == c:
                    true.add((i, y, x))
                if p[y, x] == c:
                    guess.add((i, y, x))
        either = true | guess
        figures.append(len(true & guess) / len(either) if either else math.nan)
    return figures


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(1, 3))
def test_iou_is_that_of_brute_force(seed, used, images):
    """Random maps with void, empty images, and classes that never occur."""
    rng = np.random.default_rng(seed)
    C = 5
    truths, predictions = [], []
    counts = np.zeros((C, C), np.int64)
    for _ in range(images):
        truth = rng.integers(0, used, (5, 4)).astype(np.uint8)
        truth[rng.random(truth.shape) < rng.choice([0, 0.3, 1])] = VOID
        predicted = rng.integers(0, int(rng.integers(1, C + 1)), (5, 4)).astype(np.uint8)
        counts += confusion(truth, predicted, C)
        truths.append(truth)
        predictions.append(predicted)
    expected = brute_force_iou(truths, predictions, C)
    assert class_iou(counts) == pytest.approx(expected, nan_ok=True)
    known = [v for v in expected if not math.isnan(v)]
    assert mean_iou(counts) == pytest.approx(
        sum(known) / len(known) if known else math.nan, nan_ok=True
    )


def test_undefined_and_adversarial_figures():
    void = np.full((3, 3), VOID, np.uint8)
    nothing = confusion(void, np.full((3, 3), 77, np.uint8), 4)  # predictions there do not count
    assert nothing.sum() == 0
    assert math.isnan(mean_iou(nothing))
    assert math.isnan(pixel_accuracy(nothing))
    truth = np.array([[0, 0, 0, VOID]], np.uint8)
    iou = class_iou(confusion(truth, np.array([[0, 0, 1, 2]], np.uint8), 4))
    assert iou[:2].tolist() == [pytest.approx(2 / 3), 0.0]  # predicted but never true: 0
    assert np.isnan(iou[2:]).all()  # seen under void only, and never seen
    with pytest.raises(ShapeError, match="resize one"):
        confusion(truth, np.zeros((2, 2), np.uint8), 4)
    with pytest.raises(ShapeError, match=r"truth holds values 0\.\.0"):
        confusion(truth, np.zeros((1, 4), np.uint8), 0)
    with pytest.raises(ShapeError, match=r"prediction holds values 0\.\.9"):
        confusion(truth, np.array([[0, 9, 0, 0]], np.uint8), 4)


def test_data_set_miou_is_not_the_mean_over_images():
    a, b = np.zeros((1, 4), np.uint8), np.array([[0, 1, 1, 1]], np.uint8)
    counts = confusion(a, a, 2) + confusion(b, a, 2)
    assert class_iou(counts).tolist() == [5 / 8, 0]
