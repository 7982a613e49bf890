"""Windows of a frame: they cover it, lie in it, and points and boxes come back from them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ren_core.encoders.base import squash
from ren_core.errors import ConfigError
from ren_core.images import to_tensor
from ren_core.prompts import to_image_points, user_prompts
from vq2d.video.crops import frame_crops, square_crop, zoom_crop

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


@settings(max_examples=80, deadline=None)
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


FRAMES = st.one_of(SIZES, st.sampled_from([(1440, 1920), (1080, 1920), (1920, 2560)]))
MODEL_SIZES = (168, 518)


def a_box(size_hw, cx, cy, share):
    """A box of some share of the frame's sides, anywhere in the frame."""
    sides = np.maximum(np.array(size_hw[::-1]) * share, 2)
    low = (np.array(size_hw[::-1]) - sides) * [cx, cy]
    return np.concatenate([low, low + sides]).astype(np.float32)


@settings(max_examples=200, deadline=None)
@given(
    FRAMES,
    st.floats(0, 1),
    st.floats(0, 1),
    st.floats(0.01, 1),
    st.floats(1, 4),
    st.sampled_from(MODEL_SIZES),
)
def test_both_corners_of_a_box_return_from_the_model_within_half_a_pixel(
    size_hw, cx, cy, share, factor, R
):
    box = a_box(size_hw, cx, cy, share)
    crop = zoom_crop(box, size_hw, factor)
    corners = crop.box_to_crop(box).reshape(2, 2)  # frame → crop
    sides = np.array(crop.size_hw[::-1])
    model_xy = corners / sides * R - 0.5  # crop → model, pixel centres at whole numbers
    yx = torch.from_numpy(model_xy[:, ::-1].astype(np.float32))
    back = to_image_points(yx, R, crop.size_hw).numpy()[:, ::-1]  # model → crop
    returned = crop.box_to_frame(back.reshape(4))  # crop → frame
    assert np.abs(returned - box).max() <= 0.5


@pytest.mark.parametrize("R", MODEL_SIZES)
@pytest.mark.parametrize(
    ("cx", "cy", "share", "factor"),
    [(0.31, 0.57, 0.2, 2.5), (0.02, 0.93, 0.15, 1.75), (0.5, 0.5, 0.3, 1.0), (0.8, 0.1, 0.06, 4.0)],
)
def test_the_model_sees_a_box_where_the_coordinates_say(cx, cy, share, factor, R):
    size_hw = (1440, 1920)
    box = np.round(a_box(size_hw, cx, cy, share))
    frame = np.zeros((*size_hw, 3), np.uint8)
    x1, y1, x2, y2 = box.astype(int)
    frame[y1:y2, x1:x2] = 255
    crop = zoom_crop(box, size_hw, factor)
    seen = squash(to_tensor(crop.cut(frame))[None].float() / 255, R)[0, 0].double().numpy()
    corners = []
    for axis, side in ((0, crop.width), (1, crop.height)):
        profile = seen.max(axis=axis)
        middle = (profile * np.arange(R)).sum() / profile.sum()
        ends = np.array([middle - profile.sum() / 2, middle + profile.sum() / 2]) + 0.5
        corners.append(ends * side / R)
    (left, right), (top, bottom) = corners
    returned = crop.box_to_frame(np.array([left, top, right, bottom], np.float32))
    assert np.abs(returned - box).max() <= 0.5


@settings(max_examples=80, deadline=None)
@given(SIZES, st.floats(0, 0.999), st.floats(0, 0.999), st.floats(4, 90))
def test_a_prompt_returns_from_its_model_pixel_within_half_of_it(size_hw, cx, cy, side):
    H, W = size_hw
    crop = square_crop((cx * W, cy * H), side, size_hw)
    point = np.array([crop.left + cx * crop.width, crop.top + cy * crop.height])
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
