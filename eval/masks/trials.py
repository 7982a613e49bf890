"""How well methods outline things: figures of each prompt, and of all prompts of one kind.

No answer counts as IoU 0.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from eval.masks.protocol import MaskAnswer, Method, Prompt, PromptKind, Thing
from ren_core.geometry import Mask, box_iou
from ren_core.progress import tqdm

BATCH = 8
"""Prompts that a method is given at once, about as many as the main job gives."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MaskRow:
    """How well one prompt was answered; NaN for what is not known.

    Attributes:
        set_name: Of the thing.
        prompt: Kind of prompt.
        method: What answered.
        name: Of the thing.
        group: Of the thing.
        is_answered: Whether there is a mask.
        mask_iou: With the true mask.
        box_iou: With the true box.
        expected_iou: What the method expected.
    """

    set_name: str
    prompt: PromptKind
    method: str
    name: str
    group: str
    is_answered: bool
    mask_iou: float
    box_iou: float
    expected_iou: float

    @property
    def overlap(self) -> float:
        """IoU of the masks or, where there is no true one, of the boxes."""
        return self.box_iou if np.isnan(self.mask_iou) else self.mask_iou

    @property
    def error(self) -> float:
        """How far the expected IoU is from the true one."""
        return abs(self.expected_iou - self.mask_iou)


@dataclass(frozen=True, kw_only=True, slots=True)
class MaskFigures:
    """One method on one kind of prompts of one set; NaN for what is not known.

    Attributes:
        set_name: Of the things.
        prompt: Kind of prompts.
        method: What answered.
        things: How many there are.
        mask_iou: Mean.
        box_iou: Mean.
        above_50: Share of IoU above 0.5: of masks or, where there is no true one, of boxes.
        above_75: The same above 0.75.
        expected_iou: Mean over what was answered.
        expected_error: Mean distance of expected and true mask IoU, over the same.
        seconds: Processor seconds per prompt.
    """

    set_name: str
    prompt: PromptKind
    method: str
    things: int
    mask_iou: float
    box_iou: float
    above_50: float
    above_75: float
    expected_iou: float
    expected_error: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Trial:
    """The answers of one method to prompts of one kind.

    Attributes:
        set_name: Where the prompts' things are from.
        method: Name of what answered.
        prompts: At least one, all of one kind.
        answers: To each of them.
        seconds: Processor seconds per prompt.
    """

    set_name: str
    method: str
    prompts: Sequence[Prompt]
    answers: Sequence[MaskAnswer | None]
    seconds: float

    @property
    def kind(self) -> PromptKind:
        """That of the prompts."""
        return self.prompts[0].kind

    def rows(self) -> list[MaskRow]:
        """The figures of each prompt."""
        return [
            MaskRow(
                set_name=self.set_name,
                prompt=self.kind,
                method=self.method,
                name=prompt.thing.name,
                group=prompt.thing.group,
                is_answered=answer is not None,
                mask_iou=_true_mask_iou(prompt.thing, answer),
                box_iou=0.0 if answer is None else _box_iou(prompt.thing, answer),
                expected_iou=float("nan") if answer is None else _expected(answer),
            )
            for prompt, answer in zip(self.prompts, self.answers, strict=True)
        ]

    def figures(self) -> MaskFigures:
        """The figures of all prompts."""
        rows = self.rows()
        return MaskFigures(
            set_name=self.set_name,
            prompt=self.kind,
            method=self.method,
            things=len(rows),
            mask_iou=known_mean([row.mask_iou for row in rows]),
            box_iou=known_mean([row.box_iou for row in rows]),
            above_50=known_mean([float(row.overlap > 0.5) for row in rows]),
            above_75=known_mean([float(row.overlap > 0.75) for row in rows]),
            expected_iou=known_mean([row.expected_iou for row in rows]),
            expected_error=known_mean([row.error for row in rows]),
            seconds=self.seconds,
        )


def run_trial(set_name: str, method: Method, prompts: Sequence[Prompt]) -> Trial:
    """Let a method answer prompts of one kind, which it takes, and measure what it costs.

    Args:
        set_name: Where the things are from.
        method: Answers; it is called once before, so that nothing is loaded while it is timed.
        prompts: At least one.
    """
    method.answer(prompts[:BATCH])
    answers: list[MaskAnswer | None] = []
    bar = tqdm(total=len(prompts), desc=f"{set_name} {prompts[0].kind} {method.name}", disable=None)
    start = time.process_time()
    with bar:
        for first in range(0, len(prompts), BATCH):
            some = prompts[first : first + BATCH]
            answers += method.answer(some)
            bar.update(len(some))
    seconds = (time.process_time() - start) / len(prompts)
    return Trial(set_name, method.name, prompts, answers, seconds)


def mask_iou(a: Mask, b: Mask) -> float:
    """Intersection over union of two masks (H, W); 0 if both are empty.

    >>> mask_iou(np.array([[1, 1, 0]], bool), np.array([[0, 1, 1]], bool)) == 1 / 3
    True
    """
    union = int((a | b).sum())
    return int((a & b).sum()) / union if union else 0.0


def known_mean(values: Sequence[float]) -> float:
    """Mean of the values that are not NaN; NaN if there are none."""
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")


def _true_mask_iou(thing: Thing, answer: MaskAnswer | None) -> float:
    if thing.mask is None:
        return float("nan")
    return 0.0 if answer is None else mask_iou(answer.mask, thing.mask)


def _box_iou(thing: Thing, answer: MaskAnswer) -> float:
    return float(box_iou(answer.box_xyxy, thing.box_xyxy))


def _expected(answer: MaskAnswer) -> float:
    return float("nan") if answer.expected_iou is None else answer.expected_iou
