"""Which stage had the truth in hand, and which one lost it."""

from __future__ import annotations

from ren_core.geometry import box_iou
from vq2d.job.task import Answer
from vq2d.scoring.breakdown import Trace
from vq2d.types import Localization


def trace_of(answer: Answer) -> Trace | None:
    """Which stage had the truth in hand; None where the truth is unknown."""
    found, truth = answer.found, answer.task.truth
    if truth is None:
        return None
    scores, seed = found.scores, found.seed
    best = int(scores.frame_idx[scores.answerable.argmax()]) if len(scores.frame_idx) else -1
    overlap = None
    if seed is not None and seed.box_xyxy is not None and truth.holds(seed.frame_idx):
        true_box = truth.boxes_xyxy[seed.frame_idx - truth.start_frame]
        overlap = float(box_iou(seed.box_xyxy, true_box))
    return Trace(
        best_frame_in_truth=truth.holds(best),
        candidate_in_truth=any(truth.holds(c.frame_idx) for c in found.candidates),
        tracked_candidate_in_truth=seed is not None and truth.holds(seed.frame_idx),
        seed_box_iou=overlap,
        reason=_reason(found),
    )


def _reason(found: Localization) -> str:
    if found.seed is None:
        return "no candidate was good enough"
    return "first search" if found.rounds == 1 else "after the second search"
