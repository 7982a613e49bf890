"""Methods without a trained outline, on a red square before a grey wall."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from eval.masks.methods import (
    PatchRegions,
    filled,
    fills,
    gated,
    grabcut,
    similar_cells,
)
from eval.masks.protocol import PointPrompt, answer_of, thing_of_mask
from eval.masks.sheet import ANSWER, PROMPT, TILE, TRUTH, draw_answer, draw_worst
from eval.masks.trials import Trial, mask_iou
from ren_core.geometry import box_to_mask, square_window
from tests.tiny import tiny_ren

H, W = 64, 96
BOX = np.array([40, 20, 56, 36], np.float32)
LOOSE = np.array([36, 17, 60, 38], np.float32)


def picture():
    rng = np.random.default_rng(0)
    image = rng.integers(90, 120, (H, W, 3), dtype=np.uint8)
    image[20:36, 40:56] = rng.integers(200, 230, (16, 16, 3)) * np.array([1, 0, 0])
    return image


SQUARE = box_to_mask(BOX, (H, W))


def test_a_filled_box_is_its_pixels_in_the_picture():
    outside = np.array([-9, 2, 0, 6], np.float32)
    whole, nothing = filled([picture()] * 2, [LOOSE + 0.3, outside])
    assert whole.box_xyxy.tolist() == LOOSE.tolist()
    assert whole.mask.sum() == 24 * 21
    assert nothing is None


def test_grabcut_finds_the_square_in_a_loose_box():
    found, again = grabcut([picture()] * 2, [LOOSE] * 2)
    assert mask_iou(found.mask, SQUARE) > 0.95
    assert (found.mask == again.mask).all()
    everything = np.array([0, 0, W, H], np.float32)
    (whole,) = grabcut([picture()], [everything])
    assert whole.mask.all()  # nothing around it to learn against


@pytest.mark.parametrize(
    ("mask_box", "wanted"),
    [
        ((36, 17, 60, 38), True),
        ((36, 17, 60, 29), False),  # 12 of 21 rows
        ((36, 17, 50, 38), False),  # 14 of 24 columns
        ((36, 17, 60, 30), True),  # 13 of 21 rows
    ],
)
def test_an_outline_must_span_its_box(mask_box, wanted):
    answer = answer_of(box_to_mask(np.array(mask_box, np.float32), (H, W)))
    assert fills(answer, LOOSE) is wanted


def test_an_outline_must_cover_a_quarter_of_its_box():
    frame = box_to_mask(LOOSE, (H, W))
    frame[18:37, 37:59] = False  # one pixel wide: 86 of 504
    assert not fills(answer_of(frame), LOOSE)
    frame[18:21, 37:59] = True  # and 66 more
    assert fills(answer_of(frame), LOOSE)
    assert not fills(None, LOOSE)


def test_only_doubted_answers_are_asked_for_again():
    good, thin = box_to_mask(LOOSE, (H, W)), box_to_mask(np.array([36, 17, 60, 20]), (H, W))
    asked = []

    def first(images, boxes):
        return [answer_of(good), answer_of(thin), None, answer_of(thin)]

    def second(images, boxes):
        asked.append(len(images))
        return [answer_of(SQUARE), answer_of(SQUARE), None]

    found = gated(first, second)([picture()] * 4, [LOOSE] * 4)
    assert asked == [3]
    wanted = [good, SQUARE, SQUARE, thin]
    assert all((f.mask == w).all() for f, w in zip(found, wanted, strict=True))


def test_cells_must_be_similar_and_connected():
    patches = torch.zeros(2, 3, 4)
    patches[0] = 1
    patches[:, :, 2] = torch.tensor([[0.0], [1.0]])  # a wall
    patches[:, 0, 0] = torch.tensor([1.0, 1.0])  # cosine 0.71
    found = similar_cells(patches, (1, 1), 0.8)
    assert found.tolist() == [[False, True, False, False], *[[True, True, False, False]] * 2]
    assert similar_cells(patches, (1, 1), 0.7)[0, 0]
    assert similar_cells(patches, (1, 2), 0.8).sum() == 3


def test_patches_of_the_square_stay_on_it():
    regions = PatchRegions(tiny_ren(), share=0.5, similarity=0.8)
    on, off = regions([picture()] * 2, [(48.5, 28.5), (10.5, 50.5)])
    assert mask_iou(on.mask, SQUARE) > 0.5  # in whole cells of 6 px
    assert (off.mask & SQUARE).sum() < 0.25 * SQUARE.sum()  # cells that show its edge
    assert off.box_xyxy[0] < 10 < off.box_xyxy[2]
    assert off.mask.sum() > 300


def test_windows_stay_in_the_picture():
    assert square_window((5, 5), 4, (10, 20)) == (slice(3, 7), slice(3, 7))
    assert square_window((20, 10), 4, (10, 20)) == (slice(6, 10), slice(16, 20))
    assert square_window((5, 5), 99, (10, 20)) == (slice(0, 10), slice(0, 20))


def test_worst_answers_come_first_and_show_truth_answer_and_prompt():
    things = [thing_of_mask(name, "g", picture(), SQUARE) for name in "abc"]
    prompts = [PointPrompt("point", thing, (48.5, 28.5)) for thing in things]
    answers = [answer_of(SQUARE), None, answer_of(box_to_mask(LOOSE, (H, W)))]
    trial = Trial("set", "m", prompts, answers, 0.0)
    sheet = draw_worst([trial, trial], 2)
    height, width = sheet.shape[:2]
    assert width == 2 * (TILE + 6)
    assert height > 2 * TILE
    shown = {
        name: {tuple(colour) for colour in part.reshape(-1, 3).tolist()}
        for name, part in (("none", sheet[: height // 2, : width // 2]), ("all", sheet))
    }
    assert ANSWER not in shown["none"]
    assert {TRUTH, PROMPT} < shown["none"]
    assert ANSWER in shown["all"]
    assert draw_worst([trial], 5).shape[1] == 5 * (TILE + 6)  # blank where there are no more
    tile = draw_answer(prompts[0], answers[2])
    rows, columns = np.nonzero((tile == PROMPT).all(axis=2))
    at = 16.5 / 31 * TILE  # 31 px are seen, the point is 16.5 from their left and their top
    assert (rows.mean(), columns.mean()) == pytest.approx((at, at), abs=2)
