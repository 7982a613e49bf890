"""Point prompts on grids, superpixels, masks and where users point."""

from __future__ import annotations

import logging
import sys

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ren_core import prompts
from ren_core.errors import ConfigError, ShapeError


@pytest.fixture(scope="module")
def picture():
    """A photograph-like image: smooth shades, edges, noise."""
    rng = np.random.default_rng(0)
    image = cv2.resize(rng.integers(0, 255, (9, 9, 3), np.uint8), (126, 126))
    cv2.circle(image, (50, 60), 25, (250, 30, 40), -1)
    return np.clip(image.astype(int) + rng.integers(-8, 9, image.shape), 0, 255).astype(np.uint8)


def test_border_grid_runs_from_one_pixel_inside():
    grid = prompts.grid_prompts(10, 3)
    assert grid.points_yx[:4].tolist() == [[1, 1], [1, 4], [1, 8], [4, 1]]
    assert len(grid) == 9


def test_patch_grid_hits_patch_centres():
    grid = prompts.grid_prompts(518, 37, "patch")
    assert grid.points_yx[0].tolist() == [7, 7]
    assert grid.points_yx[-1].tolist() == [511, 511]
    cells = grid.points_yx // 14
    assert cells.unique(dim=0).shape == (37 * 37, 2)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(1, 12), st.sampled_from(["border", "patch"]))
def test_every_pixel_belongs_to_its_nearest_grid_point(size, count, convention):
    if count > size:
        with pytest.raises(ConfigError, match="grid_size"):
            prompts.grid_prompts(size, count)
        return
    grid = prompts.grid_prompts(size, count, convention)
    points = grid.points_yx.numpy()
    assert ((points >= 0) & (points < size)).all()
    y, x = np.mgrid[:size, :size]
    own = points[grid.labels]
    distance = np.maximum(abs(own[..., 0] - y), abs(own[..., 1] - x))
    best = np.abs(points[:, None, None] - np.stack([y, x], -1)).max(-1).min(0)
    np.testing.assert_array_equal(distance, best)


def test_unknown_grid_convention_is_refused():
    with pytest.raises(ConfigError, match="'border', 'patch'"):
        prompts.grid_prompts(10, 3, "centre")


@pytest.mark.parametrize("make", [None, prompts.skimage_slic], ids=["fast-slic", "scikit-image"])
@pytest.mark.parametrize("compactness", [256.0, 20.0])
def test_superpixels_cover_the_image_and_hold_their_points(picture, make, compactness, monkeypatch):
    if make is None:
        pytest.importorskip("fast_slic", reason="fast-slic could not be built here")
    else:
        monkeypatch.setattr(prompts, "_slic", lambda: make)
    result = prompts.slic_prompts(picture, 81, compactness)
    points = result.points_yx.numpy()
    assert 55 <= len(result) <= 100
    assert sorted(np.unique(result.labels)) == list(range(len(result)))
    np.testing.assert_array_equal(result.labels[points[:, 0], points[:, 1]], np.arange(len(result)))
    # cover: no pixel is far from the nearest prompt
    y, x = np.mgrid[:126, :126]
    distance = np.hypot(points[:, 0, None, None] - y, points[:, 1, None, None] - x).min(0)
    assert distance.max() < 2.2 * 126 / 9


def test_superpixels_are_the_same_every_time(picture):
    first = prompts.slic_prompts(picture, 50)
    prompts.slic_prompts(picture[::-1].copy(), 50)
    np.testing.assert_array_equal(prompts.slic_prompts(picture, 50).labels, first.labels)


def test_the_stand_in_is_announced_once(picture, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "fast_slic", None)
    prompts._slic.cache_clear()
    with caplog.at_level(logging.WARNING):
        prompts.slic_prompts(picture, 30)
        prompts.slic_prompts(picture, 30)
    prompts._slic.cache_clear()
    assert [r.message for r in caplog.records if "stands in" in r.message] != []
    assert len(caplog.records) == 1


def test_the_point_of_a_ring_lies_on_the_ring():
    labels = np.zeros((9, 9), np.int32)
    labels[2:7, 2:7] = 1
    labels[4, 4] = 0
    points = prompts.label_centres(labels)
    assert labels[tuple(points[0])] == 0
    assert labels[tuple(points[1])] == 1


def test_slic_refuses_what_it_cannot_do(picture):
    with pytest.raises(ShapeError, match="uint8 RGB"):
        prompts.slic_prompts(picture.astype(np.float32), 10)
    with pytest.raises(ConfigError, match="32767"):
        prompts.slic_prompts(picture, 40_000)


def test_segments_follow_the_edge_of_a_thing_and_hold_their_points(picture):
    few, many = (prompts.felzenszwalb_prompts(picture, scale, 100) for scale in (800, 10))
    assert len(few) < len(many)
    for result in (few, many):
        points = result.points_yx.numpy()
        np.testing.assert_array_equal(
            result.labels[points[:, 0], points[:, 1]], np.arange(len(result))
        )
        assert np.bincount(result.labels.ravel()).min() >= 100
    y, x = np.mgrid[:126, :126]
    disc = np.hypot(y - 60, x - 50) <= 25
    found = few.labels == few.labels[60, 50]
    assert (found & disc).sum() / (found | disc).sum() > 0.8
    with pytest.raises(ShapeError, match="uint8 RGB"):
        prompts.felzenszwalb_prompts(picture[..., 0], 10, 100)


def test_points_inside_a_mask():
    mask = np.zeros((20, 20), bool)
    mask[3:6, 4:9] = True
    few = prompts.mask_prompts(mask, 10, seed=1).points_yx
    assert mask[few[:, 0], few[:, 1]].all()
    assert len(few.unique(dim=0)) == 10
    many = prompts.mask_prompts(mask, 40, seed=1).points_yx
    assert len(many) == 40
    assert not torch.equal(few, prompts.mask_prompts(mask, 10, seed=2).points_yx)
    with pytest.raises(ShapeError, match="no pixel"):
        prompts.mask_prompts(np.zeros((5, 5), bool), 3)


def test_user_points_land_on_the_pixel_they_name():
    points = torch.tensor([[0, 0], [99, 199], [50, 100]])
    square = prompts.user_prompts(points, (100, 200), 50)
    assert square.points_yx.tolist() == [[0, 0], [49, 49], [25, 25]]
    back = prompts.to_image_points(square.points_yx, 50, (100, 200))
    assert (back - (points + 0.5)).abs().max() <= 2.0
    one = prompts.user_prompts(torch.tensor([[0.0, 0.0]]), (1, 1), 50)
    assert one.points_yx.tolist() == [[25, 25]]


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (torch.tensor([[100, 0]]), r"prompt 0 = \[100, 0\]"),
        (torch.tensor([[0, 0], [0, -1]]), "prompt 1"),
        (torch.tensor([[float("nan"), 0.0]]), "outside the image of 100x200"),
        (torch.zeros((0, 2)), "N >= 1"),
        (torch.zeros(2), "N >= 1"),
    ],
)
def test_user_points_outside_the_image_are_refused(points, message):
    with pytest.raises(ShapeError, match=message):
        prompts.user_prompts(points, (100, 200), 50)
