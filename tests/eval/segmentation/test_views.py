"""Views of images and labels: crops, padding, colours, squashing."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from eval.segmentation.config import HeadConfig
from eval.segmentation.confusion import VOID
from eval.segmentation.views import (
    distort_colours,
    draw_crop,
    rescaled,
    resized_crop,
    training_view,
    warp_labels,
)
from ren_core.encoders.base import normalise
from ren_core.images import to_batch
from tests.segmentation_sets import example_image
from tests.tiny import SPEC


@pytest.mark.parametrize("augmentation", ["none", "resized-crop", "scale-crop"])
def test_image_and_labels_move_together(augmentation):
    _, classes = example_image()
    grey = np.repeat((classes * 100)[..., None], 3, axis=2).astype(np.uint8)
    config = HeadConfig(augmentation=augmentation)
    flipped = []
    for seed in range(8):
        view, labels = training_view(grey, classes, config, SPEC, np.random.default_rng(seed))
        again, _ = training_view(grey, classes, config, SPEC, np.random.default_rng(seed))
        assert np.array_equal(view, again)
        assert view.shape == (56, 56, 3)
        flipped.append(labels.tobytes())
        # colours may change, but all pixels of a class alike: the nearest level is its own
        found = np.unique(labels[labels != VOID])
        levels = np.array([np.median(view[labels == c]) for c in found])
        assert (np.diff(levels) > 20).all()
        seen = view[labels != VOID][:, 0].astype(float)
        nearest = found[np.abs(seen[:, None] - levels).argmin(1)]
        assert (nearest == labels[labels != VOID]).mean() > 0.93
    assert len(set(flipped)) == (2 if augmentation == "none" else 8)


def test_small_scaled_crops_are_padded_after_colours_and_mirroring():
    image = np.full((20, 60, 3), 200, np.uint8)
    image[:, 30:] = 40
    classes = (image[..., 0] == 40).astype(np.uint8)
    config = HeadConfig(augmentation="scale-crop")
    heights, mirrored = set(), 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        view, labels = training_view(image, classes, config, SPEC, rng)
        inside = labels != VOID
        H, W = int(inside.any(1).sum()), int(inside.any(0).sum())
        assert inside[:H, :W].all()  # right of it and below, mirrored or not
        empty = normalise(to_batch(view), SPEC)[0][:, torch.from_numpy(~inside)]
        if empty.numel():
            assert float(empty.abs().max()) < 0.5 / 255 / 0.22  # 0, to the rounding of colours
        heights.add(H)
        mirrored += int(labels[0, 0])
    assert min(heights) < 40 < max(heights) == 56
    assert 0 < mirrored < 12


def test_long_images_are_rescaled_less():
    sizes = {(64, 128): (56, 112), (128, 64): (112, 56), (20, 80): (56, 224), (20, 100): (45, 224)}
    for size_hw, expected in sizes.items():
        assert rescaled(np.zeros((*size_hw, 3), np.uint8), 56).shape[:2] == expected
    thin = np.zeros((1, 3000, 3), np.uint8)
    assert rescaled(thin, 56).shape[:2] == (1, 224)
    assert rescaled(thin[:, :100], 56, 0.5).shape[:2] == (1, 112)
    assert rescaled(np.zeros((64, 128, 3), np.uint8), 56, 1.99).shape[:2] == (111, 222)


class Script:
    """A source of chance that says what it is told, and notes the ranges it is asked for."""

    def __init__(self, coins=(), share=0.0, integers=()):
        self.coins, self.share = list(coins), share
        self.given = list(integers)
        self.ranges = []

    def random(self):
        return 0.1 if self.coins.pop(0) else 0.9

    def uniform(self, low, high):
        self.ranges.append((low, high))
        return low + self.share * (high - low)

    def integers(self, low, high, *, endpoint):
        assert (low, endpoint) == (0, True)
        self.ranges.append(tuple(high))
        return self.given.pop(0)


def hue_degrees(pixels):
    return cv2.cvtColor(pixels.astype(np.float32) / 255, cv2.COLOR_RGB2HSV)[..., 0]


def test_crops_of_nearly_one_class_are_drawn_again():
    labels = np.zeros((10, 30), np.uint8)
    labels[:, 20:] = 1
    labels[:, :4] = VOID
    poor, edge, good = [0, 1], [0, 12], [0, 14]  # one class; 80 %; 60 %
    rng = Script(integers=[poor, edge, good, poor])
    assert draw_crop(labels, 10, rng) == (slice(0, 10), slice(14, 24))
    assert rng.ranges == [(0, 20)] * 3
    quarter = [0, 13]  # 70 %, below three quarters
    assert draw_crop(labels, 10, Script(integers=[quarter]))[1].start == 13
    labels[:, 12:15] = VOID  # five of seven labelled columns of 12..21: 71 %
    assert draw_crop(labels, 10, Script(integers=[edge]))[1].start == 12
    rng = Script(integers=[poor] * 10 + [[0, 0]])
    assert draw_crop(labels, 10, rng)[1].start == 0  # ten times, then as it comes
    assert rng.given == []
    void = np.full((4, 4), VOID, np.uint8)
    assert draw_crop(void, 10, np.random.default_rng(0)) == (slice(0, 10), slice(0, 10))


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_colours_change_within_bounds(share):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
    pixels = image.astype(float)
    off = [False] * 5  # brightness, contrast, contrast before the others, saturation, hue
    assert np.abs(distort_colours(image, Script(off)) - pixels).max() <= 1

    script = Script([True, *off[1:]], share)
    brightness = distort_colours(image, script)
    assert script.ranges == [(-32, 32)]
    assert np.abs(brightness - (pixels + (64 * share - 32)).clip(0, 255)).max() <= 1

    for first in (True, False):
        script = Script([False, True, first, False, False], share)
        contrast = distort_colours(image, script)
        assert script.ranges == [(0.5, 1.5)]
        assert np.abs(contrast - (pixels * (0.5 + share)).clip(0, 255)).max() <= 1

    script = Script([*off[:3], True, False], share)
    grey = distort_colours(image, script)
    assert script.ranges == [(0.5, 1.5)]
    assert np.abs(grey.max(2) - pixels.max(2)).max() <= 1
    spread = (pixels.max(2) - pixels.min(2)) * (0.5 + share)
    assert np.abs(np.ptp(grey, axis=2) - np.minimum(spread, pixels.max(2))).max() <= 1.01

    script = Script([*off[:4], True], share)
    turned = distort_colours(image, script)
    assert script.ranges == [(-36, 36)]
    vivid = np.ptp(pixels, axis=2) > 100
    turn = (hue_degrees(turned) - hue_degrees(image) + 180) % 360 - 180
    assert turn[vivid] == pytest.approx(72 * share - 36, abs=1)


def test_every_second_distortion_happens():
    image = np.full((1, 1, 3), (60, 120, 180), np.uint8)
    drawn = [distort_colours(image, np.random.default_rng(seed)) for seed in range(400)]
    same = sum(np.abs(d.astype(int) - image).max() <= 1 for d in drawn)
    assert 8 < same < 50  # one in sixteen: all four left out
    assert {int(d.max()) for d in drawn} <= set(range((180 - 32) // 2, 256))


def test_small_images_leave_void_and_long_ones_still_have_a_crop():
    classes = np.zeros((10, 40), np.uint8)
    matrix = np.diag([0.5, 0.5, 1.0])
    labels = warp_labels(classes, matrix, 20)
    assert (labels[:5] == 0).all()
    assert (labels[5:] == VOID).all()
    for seed in range(5):
        matrix = resized_crop((4, 400), 16, np.random.default_rng(seed))
        assert (warp_labels(np.zeros((4, 400), np.uint8), matrix, 16) == 0).all()
