"""Prompts as maps: where a box, a point and a rough mask lie on the grid."""

from __future__ import annotations

import numpy as np
import pytest

from ren_core.errors import ShapeError
from ren_core.mask_prompts import (
    BOX,
    CORE,
    MASK,
    POINTS,
    MaskPrompt,
    Reference,
    prompt_maps,
    reference_maps,
)


def test_a_box_covers_shares_of_cells():
    box = np.array([10, 0, 30, 20], np.float32)  # of a picture of 80 x 40: cells of 20 x 10
    maps = prompt_maps(MaskPrompt(box), (40, 80), 4)
    assert maps[BOX].tolist() == [[0.5, 0.5, 0, 0], [0.5, 0.5, 0, 0], [0] * 4, [0] * 4]
    assert maps[POINTS].max() == maps[MASK].max() == 0
    assert np.unravel_index(maps[CORE].argmax(), (4, 4)) in {(0, 0), (0, 1), (1, 0), (1, 1)}


def test_a_box_that_leaves_the_picture_is_cut_to_it():
    maps = prompt_maps(MaskPrompt(np.array([-50, -50, 500, 500], np.float32)), (40, 80), 4)
    assert (maps[BOX] == 1).all()


def test_a_point_is_where_the_thing_is_looked_at_whatever_else_is_known():
    box, mask = np.array([0, 0, 80, 40], np.float32), np.zeros((40, 80), bool)
    mask[:, :40] = True
    maps = prompt_maps(MaskPrompt(box, np.array([[70.0, 35.0]], np.float32), mask), (40, 80), 8)
    assert np.unravel_index(maps[POINTS].argmax(), (8, 8)) == (7, 7) or maps[POINTS][7, 7] > 0.6
    assert np.array_equal(maps[CORE], maps[POINTS])
    assert maps[MASK][:, :4].min() == 1
    assert maps[MASK][:, 4:].max() == 0


def test_a_reference_is_its_patches_and_where_the_thing_is():
    patches, shares = np.ones((3, 2, 2), np.float32), np.eye(2, dtype=np.float32)
    reference = Reference("tiny", patches, shares)
    maps = reference_maps(reference, 3, 2)
    assert maps.dtype == np.float32
    assert (maps[:3] == patches).all()
    assert (maps[3] == shares).all()
    assert not reference_maps(None, 3, 2).any()
    larger = reference_maps(reference, 3, 6)
    assert (larger[:3] == 1).all()
    assert larger[3].mean() == pytest.approx(0.5)
    assert larger[3, 0, 0] == 1


def test_several_points_each_leave_a_bump():
    points = np.array([[5.0, 5.0], [75.0, 35.0]], np.float32)
    maps = prompt_maps(MaskPrompt(points_xy=points), (40, 80), 8)
    assert maps[POINTS][1, 0] > 0.5
    assert maps[POINTS][7, 7] > 0.5
    assert maps[POINTS][4, 4] < 0.1


@pytest.mark.parametrize("shape", [(40, 80), (3, 5), (8, 8)])
def test_rough_masks_of_any_size_and_kind_cover_the_same_cells(shape):
    share = np.zeros(shape, np.float32)
    share[: shape[0] // 2] = 1
    maps = prompt_maps(MaskPrompt(mask=share), (40, 80), 8)
    assert maps[MASK][0].min() > 0.9
    assert maps[MASK][-1].max() < 0.1
    assert np.array_equal(maps[CORE], maps[MASK])


def test_a_prompt_that_knows_nothing_is_refused():
    with pytest.raises(ShapeError, match="a box, a point or a rough mask"):
        MaskPrompt()
