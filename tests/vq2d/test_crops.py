from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ren_core.errors import ConfigError
from ren_core.prompts import to_image_points, user_prompts
from vq2d.crops import frame_crops, square_crop, zoom_crop

SIZES = st.tuples(st.integers(20, 200), st.integers(20, 300))


@given(SIZES, st.lists(st.integers(1, 4), min_size=1, max_size=3, unique=True))
def test_every_tiling_covers_the_frame_once(size_hw, factors):
    crops = frame_crops(size_hw, factors)
    count = np.zeros(size_hw, int)
    for crop in crops:
        crop.cut(count)[:] += 1
    assert (count == len(factors)).all()
    assert len(crops) == sum(f * f for f in factors)


def test_impossible_tilings_are_refused():
    with pytest.raises(ConfigError, match="crop factor"):
        frame_crops((4, 4), (5,))


@settings(max_examples=80)
@given(SIZES, st.floats(0, 1), st.floats(0, 1), st.floats(0.02, 1), st.floats(1, 4))
def test_a_zoom_lies_in_the_frame_and_holds_the_box(size_hw, cx, cy, share, factor):
    H, W = size_hw
    half = np.array([W, H]) * share / 2
    centre = half + (np.array([W, H]) - 2 * half) * [cx, cy]
    box = np.concatenate([centre - half, centre + half]).astype(np.float32)
    crop = zoom_crop(box, size_hw, factor)
    assert crop.left >= 0
    assert crop.top >= 0
    assert crop.left + crop.width <= W
    assert crop.top + crop.height <= H
    inside = crop.box_to_crop(box)
    assert (inside >= -1).all()  # windows are whole pixels
    assert (inside[2:] <= np.array([crop.width, crop.height]) + 1).all()
    assert crop.width >= W / factor - 1


@settings(max_examples=80)
@given(SIZES, st.floats(0, 0.999), st.floats(0, 0.999), st.floats(4, 90))
def test_a_box_returns_from_the_crop_exactly_and_from_the_model_within_half_a_pixel(
    size_hw, cx, cy, side
):
    H, W = size_hw
    crop = square_crop((cx * W, cy * H), side, size_hw)
    point = np.array([crop.left + cx * crop.width, crop.top + cy * crop.height])
    box = np.concatenate([point, point + 3]).astype(np.float32)
    np.testing.assert_allclose(crop.box_to_frame(crop.box_to_crop(box)), box, atol=1e-4)

    R = 518  # frame → crop → model → crop → frame, through integer model pixels
    inside = crop.points_to_crop(point[None])
    prompt = user_prompts(torch.from_numpy(inside[:, ::-1].copy()), crop.size_hw, R).points_yx
    back = to_image_points(prompt, R, crop.size_hw).numpy()[:, ::-1]
    error = np.abs(crop.points_to_frame(back) - np.floor(point) - 0.5)
    assert error.max() <= 0.5 + 0.5 * max(crop.size_hw) / R


def test_points_of_a_view_fall_where_they_are_drawn():
    frame = np.zeros((30, 40, 3), np.uint8)
    frame[12, 25] = 255
    crop = square_crop((25.5, 12.5), 9, (30, 40))
    y, x = np.argwhere(crop.cut(frame)[..., 0])[0]
    assert crop.points_to_frame(np.array([x, y])).tolist() == [25, 12]
    assert crop.holds((25.5, 12.5))
    assert not crop.holds((5, 5))
