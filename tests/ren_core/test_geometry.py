"""Boxes and masks, against counted pixels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ren_core import geometry

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
