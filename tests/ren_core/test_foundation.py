"""Geometry, regions, images and stage directories."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ren_core import geometry, regions, stages
from ren_core.errors import ShapeError, StaleStageError
from ren_core.images import as_float_images

BOX = st.tuples(*[st.integers(0, 12)] * 4).map(
    lambda t: np.array(
        [min(t[0], t[2]), min(t[1], t[3]), max(t[0], t[2]), max(t[1], t[3])], np.float32
    )
)


def raster(box):
    mask = np.zeros((13, 13), bool)
    x1, y1, x2, y2 = box.astype(int)
    mask[y1:y2, x1:x2] = True
    return mask


@settings(max_examples=60, deadline=None)
@given(BOX, BOX)
def test_box_overlap_equals_pixel_counting(a, b):
    A, B = raster(a), raster(b)
    union = (A | B).sum()
    assert float(geometry.box_area(a)) == A.sum()
    assert float(geometry.box_iou(a, b)) == pytest.approx((A & B).sum() / union if union else 0.0)


@given(BOX)
def test_a_mask_gives_its_box_back(box):
    mask = raster(box)
    found = geometry.mask_to_box(mask)
    assert (found is None) == (not mask.any())
    if found is not None:
        assert found.tolist() == box.tolist()


def test_boxes_are_clipped_and_expanded():
    box = np.array([-4, 2, 30, 9], np.float32)
    assert geometry.clip_boxes(box, (8, 20)).tolist() == [0, 2, 20, 8]
    grown = geometry.expand_box(np.array([2, 4, 4, 8], np.float32), 2.0)
    assert grown.tolist() == [1, 2, 5, 10]


def test_components_and_depth():
    mask = np.zeros((9, 9), bool)
    mask[1:6, 1:6] = True
    mask[8, 8] = True
    part = geometry.largest_component(mask)
    assert part.sum() == 25
    assert not geometry.largest_component(np.zeros((3, 3), bool)).any()
    depth = geometry.depth_inside(part)
    assert np.unravel_index(depth.argmax(), depth.shape) == (3, 3)
    assert geometry.depth_inside(np.ones((5, 3), bool)).max() == 2  # the image edge is a border


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 999))
def test_grid_shares_keep_the_area(h, w, seed):
    mask = np.random.default_rng(seed).random((7, 12)) < 0.4
    share = regions.mask_on_grid(mask, (h, w))
    assert share.shape == (h, w)
    assert -1e-6 <= share.min() <= share.max() <= 1 + 1e-6
    assert share.mean() == pytest.approx(mask.mean(), abs=1e-6)


def test_regions_are_unions_of_cells():
    labels = np.array([[0, 0, 1], [2, 2, 1]], np.int32)
    of = regions.region_labels(labels, np.array([0, -1, 0]))
    assert of.tolist() == [[0, 0, -1], [0, 0, -1]]
    assert regions.region_masks(of, 1).sum() == 4
    with pytest.raises(ShapeError, match="prompt 2"):
        regions.region_labels(labels, np.array([0, 1]))


def test_images_of_all_accepted_kinds_agree():
    byte = torch.randint(0, 256, (2, 3, 4, 5), dtype=torch.uint8)
    floats = byte.float() / 255
    for images in (byte, floats, floats.double(), list(byte)):
        for got, wanted in zip(as_float_images(images), floats, strict=True):
            torch.testing.assert_close(got, wanted)
    grey = as_float_images(byte[:, :1])
    assert grey[0].shape == (3, 4, 5)
    assert torch.equal(grey[0][0], grey[0][2])


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.zeros(3, 4, 4), "add a batch axis"),
        (torch.zeros(0, 3, 4, 4), "batch is empty"),
        (torch.zeros(1, 3, 0, 4), "image 0 is empty"),
        (torch.zeros(1, 4, 4, 4), "alpha"),
        (torch.full((1, 3, 2, 2), float("nan")), "NaN"),
        (torch.full((1, 3, 2, 2), float("inf")), "NaN or infinite"),
        (torch.full((1, 3, 2, 2), 255.0), r"0..1, image 0 lies in 255"),
        (torch.full((1, 3, 2, 2), -0.5), "lies in -0.5"),
        (torch.zeros((1, 3, 2, 2), dtype=torch.int64), "int64"),
    ],
)
def test_bad_images_are_refused(images, message):
    with pytest.raises(ShapeError, match=message):
        as_float_images(images)


@dataclass(frozen=True)
class Settings:
    size: int = 3


def test_a_stage_directory_belongs_to_one_configuration(tmp_path):
    first = stages.open_stage(tmp_path, "tokens", Settings())
    assert stages.open_stage(tmp_path, "tokens", Settings()) == first
    others = [
        stages.open_stage(tmp_path, "tokens", Settings(4)),
        stages.open_stage(tmp_path, "tokens", Settings(), upstream=["a"]),
        stages.open_stage(tmp_path, "tokens", Settings(), version=2),
        stages.open_stage(tmp_path, "search", Settings()),
    ]
    assert len({first, *others}) == 5
    (first / "stage.json").write_text(json.dumps({"config": "edited"}))
    with pytest.raises(StaleStageError, match="another configuration"):
        stages.open_stage(tmp_path, "tokens", Settings())


def test_a_file_appears_only_when_it_is_complete(tmp_path):
    target = tmp_path / "deep" / "a.txt"
    with pytest.raises(ZeroDivisionError), stages.atomic_path(target) as tmp:  # noqa: PT012
        tmp.write_text("half")
        assert not target.exists()
        1 / 0  # noqa: B018
    assert list(target.parent.iterdir()) == []
    stages.write_json(target, {"a": 1})
    assert json.loads(target.read_text()) == {"a": 1}
    before = stages.file_fingerprint(target)
    target.write_text("other")
    assert stages.file_fingerprint(target) != before
