"""Pointing at an object beside its recoloured twin."""

import numpy as np

from eval.reid.pointing import PointingCase, box_mask, evaluate_pointing
from eval.reid.tokens import Comparison
from tests.eval.reid.coloured_videos import BLUE, RED, colours, picture

POOLED, CENTRE = Comparison("colour", "pooled"), Comparison("colour", "centre")


def case(frame, box, query=None):
    query = picture((RED, 8, 8)) if query is None else query
    query_box = np.array([8, 8, 24, 24], np.float32)
    return PointingCase("q", query, query_box, ((frame, np.array(box, np.float32)),))


def test_pointing_tells_the_object_from_its_twin():
    frame = picture((RED, 8, 64), (BLUE, 40, 16))
    right, wrong = case(frame, (64, 8, 80, 24)), case(frame, (16, 40, 32, 56))
    found = list(evaluate_pointing([right, wrong], colours, [POOLED, CENTRE]))
    assert [row.query for row in found] == ["pooled", "centre"] * 2
    assert [row.hits for row in found] == [1, 1, 0, 0]
    assert all(row.margin > 0.1 for row in found[:2])
    assert all(row.margin < -0.1 for row in found[2:])


def test_boxes_outside_the_frame_still_mark_a_pixel():
    assert box_mask(np.array([-9, -9, -3, -3], np.float32), (4, 6)).sum() == 1
    assert box_mask(np.array([1.5, 0, 3, 2], np.float32), (4, 6)).sum() == 4
