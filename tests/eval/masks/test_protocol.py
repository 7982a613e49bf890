"""Overlaps, shares and errors by hand, on methods whose answers are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from eval.masks.protocol import (
    BoxPrompt,
    MaskAnswer,
    Method,
    PointPrompt,
    Sight,
    Thing,
    answer_of,
    thing_of_box,
    thing_of_mask,
)
from eval.masks.trials import BATCH, known_mean, mask_iou, run_trial
from ren_core.errors import ShapeError

H, W = 12, 20
IMAGE = np.zeros((H, W, 3), np.uint8)


def block(x1, y1, x2, y2):
    mask = np.zeros((H, W), bool)
    mask[y1:y2, x1:x2] = True
    return mask


def thing(name="a", mask=None):
    return thing_of_mask(name, "g", IMAGE, block(2, 2, 6, 6) if mask is None else mask)


def answering(answers, *, by="boxes"):
    """A method that gives these answers in turn, the first ones again after the trial call."""
    served = []

    def answer(images, prompts):
        start = 0 if len(served) < 2 else BATCH * (len(served) - 1)
        served.append(len(images))
        return answers[start : start + len(images)]

    return Method("fixed", **{f"from_{by}": answer})


def boxes_of(things):
    return [BoxPrompt("box", one, one.box_xyxy) for one in things]


def test_figures_by_hand():
    things = [thing(name) for name in "abcd"]
    answers = [
        MaskAnswer(block(2, 2, 6, 6), np.array([2, 2, 6, 6], np.float32), 0.9),  # all of it
        MaskAnswer(block(2, 2, 6, 5), np.array([2, 2, 6, 5], np.float32), 0.25),  # 12 of 16
        MaskAnswer(block(4, 2, 8, 6), np.array([4, 2, 8, 6], np.float32)),  # 8 of 24
        None,
    ]
    trial = run_trial("set", answering(answers), boxes_of(things))
    rows = trial.rows()
    assert [row.mask_iou for row in rows] == [1, 0.75, 8 / 24, 0]
    assert [row.box_iou for row in rows] == pytest.approx([1, 0.75, 8 / 24, 0])
    assert [row.is_answered for row in rows] == [True, True, True, False]
    assert [row.name for row in rows] == list("abcd")
    assert rows[1].error == pytest.approx(0.5)
    figures = trial.figures()
    assert (figures.set_name, figures.prompt, figures.method) == ("set", "box", "fixed")
    assert figures.things == 4
    assert figures.mask_iou == pytest.approx((1.75 + 8 / 24) / 4)
    assert (figures.above_50, figures.above_75) == (0.5, 0.25)
    assert figures.expected_iou == pytest.approx((0.9 + 0.25) / 2)
    assert figures.expected_error == pytest.approx((0.1 + 0.5) / 2)
    assert figures.seconds >= 0


def test_where_only_the_box_is_known_its_overlap_counts():
    one = thing_of_box("a", "g", IMAGE, np.array([2, 2, 6, 6], np.float32))
    answers = [MaskAnswer(block(3, 3, 5, 5), np.array([2, 2, 6, 5], np.float32), 0.8)]
    figures = run_trial("set", answering(answers), boxes_of([one])).figures()
    assert figures.box_iou == 0.75
    assert (figures.above_50, figures.above_75) == (1, 0)
    assert figures.expected_iou == 0.8
    assert np.isnan(figures.mask_iou)
    assert np.isnan(figures.expected_error)
    nothing = run_trial("set", answering([None]), boxes_of([one])).figures()
    assert (nothing.box_iou, nothing.above_50) == (0, 0)
    assert np.isnan(nothing.expected_iou)


def test_many_prompts_are_answered_in_their_order_and_batches():
    masks = [block(0, 0, 1 + i, 1) for i in range(2 * BATCH + 3)]
    things = [thing(str(i), mask) for i, mask in enumerate(masks)]
    seen = []

    def answer(images, points):
        seen.append(points)
        return [answer_of(block(0, 0, int(x), 1)) for x, _ in points]

    prompts = [PointPrompt("point", one, (1.0 + i, 0.5)) for i, one in enumerate(things)]
    trial = run_trial("set", Method("m", from_points=answer), prompts)
    assert [len(points) for points in seen] == [BATCH, BATCH, BATCH, 3]  # the first once before
    assert trial.figures().mask_iou == 1


def test_a_method_takes_what_it_has_an_answer_for():
    box = BoxPrompt("box", thing(), thing().box_xyxy)
    point = PointPrompt("point", thing(), (3.5, 3.5))
    by_box, by_point = answering([None]), answering([None], by="points")
    assert (by_box.takes(box), by_box.takes(point)) == (True, False)
    assert (by_point.takes(box), by_point.takes(point)) == (False, True)


def test_things_need_a_place_in_their_picture():
    assert thing_of_mask("a", "g", IMAGE, np.zeros((H, W), bool)) is None
    assert thing_of_box("a", "g", IMAGE, np.array([-9, 2, 0, 6], np.float32)) is None
    half_out = thing_of_box("a", "g", IMAGE, np.array([-9, 2, 3, 99], np.float32))
    assert half_out.box_xyxy.tolist() == [0, 2, 3, H]
    assert thing().box_xyxy.tolist() == [2, 2, 6, 6]
    assert answer_of(np.zeros((H, W), bool)) is None
    with pytest.raises(ShapeError, match=r"mask of a must have .*12, 20"):
        Thing("a", "g", IMAGE, np.zeros(4, np.float32), np.ones((W, H), bool))


def test_empty_masks_overlap_by_nothing_and_unknown_values_have_no_mean():
    empty = np.zeros((H, W), bool)
    assert mask_iou(empty, empty) == 0
    assert known_mean([float("nan"), 3, 1]) == 2
    assert np.isnan(known_mean([float("nan")]))
    assert np.isnan(known_mean([]))


def test_a_method_that_must_know_the_thing_takes_only_those_seen_elsewhere():
    told = []
    method = Method("m", from_seen=lambda prompts: told.extend(prompts) or [None] * len(prompts))
    unseen = thing()
    seen = replace(unseen, elsewhere=Sight(IMAGE, unseen.box_xyxy))
    box, (point, other) = (
        BoxPrompt("box", seen, seen.box_xyxy),
        (PointPrompt("point", one, (3.5, 3.5)) for one in (seen, unseen)),
    )
    assert [method.takes(prompt) for prompt in (box, point, other)] == [False, True, False]
    method.answer([point])
    assert told == [point]
