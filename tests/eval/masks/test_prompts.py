"""Prompts of things whose shape is known."""

from __future__ import annotations

import numpy as np
import pytest

from eval.masks.prompts import deepest_point, loose_box, make_prompts
from eval.masks.protocol import thing_of_box, thing_of_mask
from ren_core.geometry import depth_inside

IMAGE = np.zeros((60, 80, 3), np.uint8)


def thing(name="a", box=(10, 20, 51, 41)):
    x1, y1, x2, y2 = box
    mask = np.zeros((60, 80), bool)
    mask[y1:y2, x1:x2] = True
    return thing_of_mask(name, "g", IMAGE, mask)


def without_mask():
    return thing_of_box("b", "g", IMAGE, np.array([10, 20, 50, 40], np.float32))


def test_the_deepest_point_is_far_from_the_border():
    x, y = deepest_point(thing())
    assert y == 20 + 21 / 2
    assert 20 <= x <= 41  # on the ridge in the middle
    notched = thing().mask.copy()
    notched[:, 26:51] = False
    assert deepest_point(thing_of_mask("a", "g", IMAGE, notched))[0] == 10 + 16 / 2 - 0.5
    assert deepest_point(without_mask()) == (30, 30)


def test_edge_points_lie_near_the_border_and_not_on_it():
    one = thing()
    depth = depth_inside(one.mask)
    limit = np.quantile(depth[depth >= 2], 0.4)
    points = {make_prompts("edge", [one], seed)[0].point_xy for seed in range(40)}
    depths = [depth[int(y), int(x)] for x, y in points]
    assert len(points) > 30
    assert 2 <= min(depths) <= max(depths) <= limit < depth.max()
    assert len(set(depths)) > 1


def test_things_that_are_thin_or_have_no_mask_get_no_edge_point():
    thin = thing(box=(10, 20, 50, 22))
    assert make_prompts("edge", [thin, without_mask()], 0) == []
    for kind in ("box", "loose", "point"):
        assert len(make_prompts(kind, [thin, without_mask()], 0)) == 2


def test_loose_boxes_grow_on_every_side_by_at_most_a_fifth():
    box = np.array([30, 20, 50, 30], np.float32)
    rng = np.random.default_rng(0)
    grown = np.stack([loose_box(box, (60, 80), rng) for _ in range(200)]) - box
    outwards = grown * [-1, -1, 1, 1] / [20, 10, 20, 10]
    assert outwards.min() >= 0
    assert outwards.max(0) == pytest.approx([0.2] * 4, abs=0.01)
    assert outwards.mean(0) == pytest.approx([0.1] * 4, abs=0.02)
    inside = loose_box(np.array([0, 0, 80, 60], np.float32), (60, 80), rng)
    assert inside.tolist() == [0, 0, 80, 60]


@pytest.mark.parametrize("kind", ["loose", "edge"])
def test_chance_depends_on_seed_and_name_only(kind):
    def drawn(things, seed):
        prompt = make_prompts(kind, things, seed)[-1]
        return prompt.box_xyxy.tolist() if kind == "loose" else prompt.point_xy

    alone = drawn([thing("a")], 0)
    assert drawn([thing("z"), thing("a")], 0) == alone
    assert drawn([thing("a")], 1) != alone
    assert drawn([thing("z")], 0) != alone


def test_exact_boxes_are_the_truth():
    (prompt,) = make_prompts("box", [thing()], 0)
    assert (prompt.kind, prompt.box_xyxy.tolist()) == ("box", [10, 20, 51, 41])
