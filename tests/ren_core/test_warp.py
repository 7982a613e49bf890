"""Affine maps of images and masks, by hand and where they shrink."""

from __future__ import annotations

import numpy as np
import pytest

from ren_core.warp import squash_matrix, warp_image, warp_masks
from tests.patterns import block_labels, masks_of, photo, stripes


def test_identity_keeps_every_pixel():
    labels = block_labels((32, 32))
    assert np.array_equal(warp_masks(masks_of(labels), np.eye(3), 32), masks_of(labels))
    image = photo(size_hw=(32, 32))
    assert np.array_equal(warp_image(image, np.eye(3), 32), image)


def test_flip_and_crop_by_hand():
    masks = masks_of(np.arange(16).reshape(4, 4))
    flip = np.array([[-1.0, 0, 4], [0, 1, 0], [0, 0, 1]])
    assert np.array_equal(warp_masks(masks, flip, 4), masks[:, :, ::-1])
    crop = np.array([[2.0, 0, -2], [0, 2, -4], [0, 0, 1]])  # window from (1, 2), 2 px, to 4 px
    expected = np.kron(masks[:, 2:4, 1:3], np.ones((1, 2, 2), bool))
    assert np.array_equal(warp_masks(masks, crop, 4), expected)


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
    middle = warp_image(stripes(size_hw, width, 1), matrix, 160)[50:110, 50:110]
    assert middle.std() < 8  # of 127; what the filter of inference leaves
    coarse = warp_image(stripes(size_hw, 24, 0), matrix, 160)[50:110, 50:110]
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
