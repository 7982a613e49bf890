"""The worst answers as pictures: the prompt, the true outline and what was answered."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from eval.masks.methods import Window
from eval.masks.protocol import BoxPrompt, MaskAnswer, Prompt
from eval.masks.trials import Trial
from ren_core.drawing import Picture, contact_sheet, draw_points, with_caption
from ren_core.geometry import Boxes, Mask, square_window

TILE = 200  # px, both sides
AROUND = 1.3  # side of what is shown, in sides of what must be seen
TRUTH, ANSWER, PROMPT = (60, 220, 90), (255, 60, 200), (255, 205, 0)


def draw_worst(trials: Sequence[Trial], count: int) -> Picture:
    """One row per trial: its ``count`` answers of the lowest IoU, the worst first."""
    tiles: list[Picture] = []
    for trial in trials:
        rows = trial.rows()
        order = sorted(range(len(rows)), key=lambda i: rows[i].overlap)[:count]
        row = [
            with_caption(
                draw_answer(trial.prompts[i], trial.answers[i]),
                f"{trial.method} {rows[i].overlap:.2f}  {rows[i].name}",
            )
            for i in order
        ]
        blank = with_caption(np.full((TILE, TILE, 3), 255, np.uint8), "")
        tiles += row + [blank] * (count - len(row))
    return contact_sheet(tiles, count)


def draw_answer(prompt: Prompt, answer: MaskAnswer | None) -> Picture:
    """The place of a prompt: the answer tinted, the truth's outline, and the prompt.

    Returns:
        (TILE, TILE, 3); a window that is no square is squashed.
    """
    thing = prompt.thing
    window = _window(prompt, answer)
    drawn = cv2.resize(thing.image[window], (TILE, TILE), interpolation=cv2.INTER_AREA)
    if answer is not None:
        mask = _shown(answer.mask, window)
        drawn[mask] = (0.55 * drawn[mask] + 0.45 * np.array(ANSWER)).astype(np.uint8)
        _outline(drawn, mask, ANSWER)
    if thing.mask is None:
        _draw_box(drawn, thing.box_xyxy, window, TRUTH)
    else:
        _outline(drawn, _shown(thing.mask, window), TRUTH)
    if isinstance(prompt, BoxPrompt):
        _draw_box(drawn, prompt.box_xyxy, window, PROMPT)
        return drawn
    x, y = _placed(np.array(prompt.point_xy, np.float32), window)
    return draw_points(drawn, np.array([[y, x]]), PROMPT, 4)


def _window(prompt: Prompt, answer: MaskAnswer | None) -> Window:
    """A square window that holds truth, prompt and answer, as far as the picture goes."""
    thing = prompt.thing
    at = prompt.box_xyxy if isinstance(prompt, BoxPrompt) else np.array(prompt.point_xy * 2)
    boxes = np.stack([thing.box_xyxy, at, thing.box_xyxy if answer is None else answer.box_xyxy])
    low, high = boxes[:, :2].min(0), boxes[:, 2:].max(0)
    x, y = (low + high) / 2
    return square_window((float(x), float(y)), AROUND * float((high - low).max()), thing.size_hw)


def _shown(mask: Mask, window: Window) -> Mask:
    part = cv2.resize(mask[window].astype(np.uint8), (TILE, TILE), interpolation=cv2.INTER_NEAREST)
    return part.astype(bool)


def _placed(points_xy: Boxes, window: Window) -> Boxes:
    """Points (..., 2) of the image in pixels of the tile."""
    rows, columns = window
    size = np.array([columns.stop - columns.start, rows.stop - rows.start], np.float32)
    placed: Boxes = (points_xy - np.array([columns.start, rows.start], np.float32)) * TILE / size
    return placed.astype(np.float32)


def _outline(drawn: Picture, mask: Mask, colour: tuple[int, int, int]) -> None:
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    cv2.drawContours(drawn, contours, -1, colour, 1)


def _draw_box(
    drawn: Picture, box_xyxy: Boxes, window: Window, colour: tuple[int, int, int]
) -> None:
    (x1, y1), (x2, y2) = _placed(box_xyxy.reshape(2, 2), window).round().astype(int).tolist()
    cv2.rectangle(drawn, (x1, y1), (x2, y2), colour, 1)
