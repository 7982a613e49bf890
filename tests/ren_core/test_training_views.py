"""Augmented views: exact geometry, colours, seeding."""

import cv2
import numpy as np
import pytest
import torch

from ren_core.encoders.base import squash
from ren_core.errors import ConfigError
from ren_core.training.views import ViewConfig, augment, draw_colours, draw_matrix, plain_view
from ren_core.warp import squash_matrix, warp_image, warp_masks

STILL = ViewConfig(size=32, flip=0, jitter=0, rotation_deg=0, shear_deg=0, min_crop=1)


def _labels(size_hw, blocks=4):
    rows = np.arange(size_hw[0]) * blocks // size_hw[0]
    columns = np.arange(size_hw[1]) * blocks // size_hw[1]
    return rows[:, None] * blocks + columns[None, :]


def _masks(labels):
    return labels[None] == np.unique(labels)[:, None, None]


def _photo(seed=0, size_hw=(40, 60)):
    noise = np.random.default_rng(seed).integers(0, 256, (*size_hw, 3)).astype(np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 3)


def test_identity_keeps_every_pixel():
    labels = _labels((32, 32))
    assert np.array_equal(warp_masks(_masks(labels), np.eye(3), 32), _masks(labels))
    image = _photo(size_hw=(32, 32))
    assert np.array_equal(warp_image(image, np.eye(3), 32), image)


def test_flip_and_crop_by_hand():
    masks = _masks(np.arange(16).reshape(4, 4))
    flip = np.array([[-1.0, 0, 4], [0, 1, 0], [0, 0, 1]])
    assert np.array_equal(warp_masks(masks, flip, 4), masks[:, :, ::-1])
    crop = np.array([[2.0, 0, -2], [0, 2, -4], [0, 0, 1]])  # window from (1, 2), 2 px, to 4 px
    expected = np.kron(masks[:, 2:4, 1:3], np.ones((1, 2, 2), bool))
    assert np.array_equal(warp_masks(masks, crop, 4), expected)


def test_masks_follow_the_image_exactly():
    # an image whose colour is its label: after any map the nearest colours must be the labels
    labels = _labels((60, 90), blocks=3)
    image = np.repeat((labels * 25 + 20)[..., None], 3, axis=2).astype(np.uint8)
    config = ViewConfig(size=64)
    for seed in range(8):
        rng = np.random.default_rng(seed)
        matrix = draw_matrix((60, 90), config, rng)
        masks = warp_masks(_masks(labels), matrix, 64)
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
    image = _photo(size_hw=(32, 32))
    smooth = draw_colours(image, STILL, np.random.default_rng(0))  # jitter 0, sharpness in 0..2
    assert np.abs(smooth.astype(int) - image).max() < 40
    base = {f: getattr(STILL, f) for f in ViewConfig.__slots__}
    blurred = draw_colours(image, ViewConfig(**{**base, "sharpness": 0}), np.random.default_rng(0))
    assert np.array_equal(blurred, cv2.GaussianBlur(image.astype(np.float32), (3, 3), 0.85).round())
    strong = ViewConfig(**{**base, "jitter": 0.9})
    means = [draw_colours(image, strong, np.random.default_rng(s)).mean() for s in range(8)]
    assert np.std(means) > 10


def test_views_depend_on_the_generator_alone():
    image, masks = _photo(), _masks(_labels((40, 60)))
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
    image, labels = _photo(), _labels((40, 60))
    view = plain_view(image, _masks(labels), 20)
    assert np.array_equal(view.matrix, squash_matrix((40, 60), 20))
    assert np.array_equal(view.masks, _masks(_labels((20, 20))))


def test_no_masks_are_no_masks():
    view = augment(_photo(), np.zeros((0, 40, 60), bool), STILL, np.random.default_rng(0))
    assert view.masks.shape == (0, 32, 32)


@pytest.mark.parametrize(
    "wrong", [{"size": 0}, {"min_crop": 0}, {"jitter": 2}, {"shear_deg": 90}, {"rotation_deg": -1}]
)
def test_view_config_rejects_nonsense(wrong):
    with pytest.raises(ConfigError):
        ViewConfig(**{"size": 32, **wrong})


def _stripes(size_hw, width, axis):
    along = np.arange(size_hw[axis]) // width % 2 * 255
    grey = along[None, :] if axis == 1 else along[:, None]
    return np.repeat(np.broadcast_to(grey, size_hw)[..., None], 3, axis=2).astype(np.uint8)


@pytest.mark.parametrize("size_wh", [(900, 300), (481, 321), (300, 900)])
@pytest.mark.parametrize("axis", [0, 1])
def test_a_plain_view_shows_what_inference_shows(size_wh, axis):
    # the squash shrinks the two sides differently; stripes alias if the blur follows the other
    image = _stripes(size_wh[::-1], 4, axis)
    view = plain_view(image, np.zeros((0, *image.shape[:2]), bool), 224).image
    expected = squash(torch.from_numpy(image).permute(2, 0, 1)[None].float(), 224)[0]
    assert np.abs(view - expected.permute(1, 2, 0).numpy()).max() <= 2


def _turned(size_hw, degrees, zoom=1.0, size=160):
    cos, sin = zoom * np.cos(np.radians(degrees)), zoom * np.sin(np.radians(degrees))
    turn = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
    centre = np.array([[1, 0, size / 2], [0, 1, size / 2], [0, 0, 1]])
    return centre @ turn @ np.linalg.inv(centre) @ squash_matrix(size_hw, size)


@pytest.mark.parametrize("size_wh", [(900, 300), (481, 321)])
@pytest.mark.parametrize("degrees", [0, 45, 90])
def test_stripes_that_are_too_fine_for_a_view_become_grey(size_wh, degrees):
    size_hw = size_wh[::-1]
    width = size_wh[0] // 320  # a period is at most 0.7 pixels of the view
    matrix = _turned(size_hw, degrees)
    middle = warp_image(_stripes(size_hw, width, 1), matrix, 160)[50:110, 50:110]
    assert middle.std() < 8  # of 127; what the filter of inference leaves
    coarse = warp_image(_stripes(size_hw, 24, 0), matrix, 160)[50:110, 50:110]
    assert coarse.std() > 110  # along the other axis nothing is lost


@pytest.mark.parametrize(
    ("degrees", "flip", "zoom"),
    [(0, 1, 1.0), (0, -1, 1.0), (0, 1, 3.0), (0, 1, 0.5), (30, 1, 1.0), (30, -1, 2.0)],
)
@pytest.mark.parametrize("size_hw", [(300, 900), (321, 481), (333, 500)])
def test_image_and_mask_have_the_same_centre(degrees, flip, zoom, size_hw):
    y, x = (np.mgrid[: size_hw[0], : size_hw[1]] + 0.5) / np.reshape(size_hw, (2, 1, 1))
    disc = (x - 0.48) ** 2 + (y - 0.53) ** 2 < 0.13**2
    image = (disc[..., None] * 255).repeat(3, axis=2).astype(np.uint8)
    matrix = _turned(size_hw, degrees, zoom=zoom)
    matrix = np.array([[flip, 0, 160 * (flip < 0)], [0, 1, 0], [0, 0, 1]]) @ matrix
    mask = warp_masks(disc[None], matrix, 160)[0].astype(float)
    pixels = warp_image(image, matrix, 160)[..., 0].astype(float)
    centres = [
        [(weight * axis).sum() / weight.sum() for axis in np.mgrid[:160, :160]]
        for weight in (mask, pixels)
    ]
    assert np.abs(np.subtract(*centres)).max() < 0.1
