"""Augmented views: exact geometry, colours, seeding."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from ren_core.encoders.base import squash
from ren_core.errors import ConfigError
from ren_core.training.views import ViewConfig, augment, draw_colours, draw_matrix, plain_view
from ren_core.warp import squash_matrix, warp_image, warp_masks
from tests.patterns import block_labels, masks_of, photo, stripes

STILL = ViewConfig(size=32, flip=0, jitter=0, rotation_deg=0, shear_deg=0, min_crop=1)


def test_masks_follow_the_image_exactly():
    # an image whose colour is its label: after any map the nearest colours must be the labels
    labels = block_labels((60, 90), blocks=3)
    image = np.repeat((labels * 25 + 20)[..., None], 3, axis=2).astype(np.uint8)
    config = ViewConfig(size=64)
    for seed in range(8):
        rng = np.random.default_rng(seed)
        matrix = draw_matrix((60, 90), config, rng)
        masks = warp_masks(masks_of(labels), matrix, 64)
        pixels = warp_image(image, matrix, 64)[..., 0].astype(int)
        kernel = np.ones((17, 17))  # beyond the reach of blur and interpolation
        inner = [cv2.erode(np.pad(m, 8).astype(np.uint8), kernel)[8:-8, 8:-8] > 0 for m in masks]
        for label, mask in enumerate(inner):
            assert np.abs(pixels[mask] - (label * 25 + 20)).max(initial=0) < 12.5  # half a step
        assert (masks.sum(axis=0) <= 1).all()  # regions that did not overlap still do not


@pytest.mark.parametrize(
    ("change", "differs"),
    [
        ({"flip": 1.0}, lambda m: m[0, 0] < 0),
        ({"rotation_deg": 40.0}, lambda m: abs(m[0, 1]) > 0.01),
        ({"shear_deg": 15.0}, lambda m: abs(m[0, 1]) > 0.001),
        ({"min_crop": 0.3}, lambda m: m[0, 0] > 1.01),
    ],
)
def test_every_geometry_option_has_an_effect(change, differs):
    base = {f: getattr(STILL, f) for f in ViewConfig.__slots__}
    matrix = draw_matrix((32, 32), ViewConfig(**{**base, **change}), np.random.default_rng(3))
    assert np.allclose(draw_matrix((32, 32), STILL, np.random.default_rng(3)), np.eye(3))
    assert differs(matrix)


def test_crops_stay_inside_and_keep_their_share():
    base = {f: getattr(STILL, f) for f in ViewConfig.__slots__}
    config = ViewConfig(**{**base, "min_crop": 0.5})
    everything = np.ones((1, 32, 32), bool)
    for seed in range(20):
        matrix = draw_matrix((32, 32), config, np.random.default_rng(seed))
        assert warp_masks(everything, matrix, 32).all()
        assert 1 <= matrix[0, 0] <= 2


def test_colour_options():
    image = photo(size_hw=(32, 32))
    smooth = draw_colours(image, STILL, np.random.default_rng(0))  # jitter 0, sharpness in 0..2
    assert np.abs(smooth.astype(int) - image).max() < 40
    base = {f: getattr(STILL, f) for f in ViewConfig.__slots__}
    blurred = draw_colours(image, ViewConfig(**{**base, "sharpness": 0}), np.random.default_rng(0))
    assert np.array_equal(blurred, cv2.GaussianBlur(image.astype(np.float32), (3, 3), 0.85).round())
    strong = ViewConfig(**{**base, "jitter": 0.9})
    means = [draw_colours(image, strong, np.random.default_rng(s)).mean() for s in range(8)]
    assert np.std(means) > 10


def test_views_depend_on_the_generator_alone():
    image, masks = photo(), masks_of(block_labels((40, 60)))
    config = ViewConfig(size=48)
    a = augment(image, masks, config, np.random.default_rng(5))
    b = augment(image, masks, config, np.random.default_rng(5))
    c = augment(image, masks, config, np.random.default_rng(6))
    assert np.array_equal(a.image, b.image)
    assert np.array_equal(a.masks, b.masks)
    assert not np.array_equal(a.image, c.image)
    assert a.image.shape == (48, 48, 3)
    assert a.masks.shape == (16, 48, 48)


def test_plain_view_only_squashes():
    image, labels = photo(), block_labels((40, 60))
    view = plain_view(image, masks_of(labels), 20)
    assert np.array_equal(view.matrix, squash_matrix((40, 60), 20))
    assert np.array_equal(view.masks, masks_of(block_labels((20, 20))))


def test_no_masks_are_no_masks():
    view = augment(photo(), np.zeros((0, 40, 60), bool), STILL, np.random.default_rng(0))
    assert view.masks.shape == (0, 32, 32)


@pytest.mark.parametrize(
    "wrong", [{"size": 0}, {"min_crop": 0}, {"jitter": 2}, {"shear_deg": 90}, {"rotation_deg": -1}]
)
def test_view_config_rejects_nonsense(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        ViewConfig(**{"size": 32, **wrong})


@pytest.mark.parametrize("size_wh", [(900, 300), (481, 321), (300, 900)])
@pytest.mark.parametrize("axis", [0, 1])
def test_a_plain_view_shows_what_inference_shows(size_wh, axis):
    # the squash shrinks the two sides differently; stripes alias if the blur follows the other
    image = stripes(size_wh[::-1], 4, axis)
    view = plain_view(image, np.zeros((0, *image.shape[:2]), bool), 224).image
    expected = squash(torch.from_numpy(image).permute(2, 0, 1)[None].float(), 224)[0]
    assert np.abs(view - expected.permute(1, 2, 0).numpy()).max() <= 2
