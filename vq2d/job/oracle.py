"""What the run would have scored if one of its stages had known the truth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from ren_core.progress import tqdm
from vq2d.ego4d.annotations import Annotations
from vq2d.ego4d.clips import open_clip
from vq2d.ego4d.documents import Document
from vq2d.job.outputs import write_tracks
from vq2d.job.task import Answer, RunReport, Task, Trouble
from vq2d.localize.localizer import Localizer
from vq2d.localize.track import choose, cut_at, track_candidate
from vq2d.types import Candidate, ResponseTrack

Correct = Callable[[Answer, Localizer, Path], ResponseTrack | None]
"""The track (frame pixels) of an answer with the truth's help; None where that changes nothing."""


@dataclass(frozen=True, slots=True)
class Oracle:
    """The truth in the place of one stage.

    Attributes:
        stem: Ending of the names of its files: ``submission-STEM.json``, ``figures-STEM.json``.
        title: What the printed figures are called.
        trouble: What it means for a query if the correction fails.
        correct: Gives the corrected track.
    """

    stem: str
    title: str
    trouble: Trouble
    correct: Correct


def write_oracle_submission(
    annotations: Annotations,
    report: RunReport,
    localizer: Localizer,
    oracle: Oracle,
    *,
    root: Path,
    out: Path,
) -> Document:
    """The submission of a run whose answers an oracle has corrected, where it can.

    A query that it says nothing of keeps its answer, so the difference to ``submission.json`` is
    what the corrected stage loses. One whose correction fails keeps its answer too, and the report
    has the reason.
    """
    tracks = {}
    for answer in tqdm(report.answers, desc=oracle.stem, unit="query", disable=None):
        task, track = answer.task, answer.found.track
        with report.guard(oracle.trouble, [task.key], f"{oracle.stem} of {task.key}"):
            track = oracle.correct(answer, localizer, root) or track
        if track is not None:
            tracks[task.key] = task.query.to_original(track, task.size_hw)
    return write_tracks(annotations, tracks, out / f"submission-{oracle.stem}.json")


def from_true_seed(answer: Answer, localizer: Localizer, root: Path) -> ResponseTrack | None:
    """The track from the true box of the frame that was found; None if that has none."""
    task, seed = answer.task, answer.found.seed
    truth = task.truth
    if truth is None or seed is None or not truth.holds(seed.frame_idx):
        return None
    box = truth.boxes_xyxy[seed.frame_idx - truth.start_frame]
    return _tracked(replace(seed, box_xyxy=box), task, localizer, root)


def with_true_outlines(answer: Answer, localizer: Localizer, root: Path) -> ResponseTrack | None:
    """The found track with the segmenter's outline of the true box in every frame that has one.

    Frames outside the true track, or without an outline, keep their box; None if all are outside.
    """
    track, truth = answer.found.track, answer.task.truth
    if track is None or truth is None:
        return None
    shared = range(max(track.start_frame, truth.start_frame), min(track.end_frame, truth.end_frame))
    if not shared:
        return None
    frames, boxes = open_clip(root, answer.task.clip), track.boxes_xyxy.copy()
    for i in shared:
        true_box = truth.boxes_xyxy[i - truth.start_frame]
        outline = localizer.models.segmenter.from_box(frames[i], true_box)
        if outline is not None:
            boxes[i - track.start_frame] = outline.box_xyxy
    return replace(track, boxes_xyxy=boxes)


def from_true_occurrence(answer: Answer, localizer: Localizer, root: Path) -> ResponseTrack | None:
    """The track from the best candidate inside the true track, if another one was chosen.

    None if the seed is inside already, or no candidate is.
    """
    task, seed = answer.task, answer.found.seed
    truth = task.truth
    if truth is None or (seed is not None and truth.holds(seed.frame_idx)):
        return None
    inside = [c for c in answer.found.candidates if truth.holds(c.frame_idx)]
    best = choose(inside, "highest")
    if best is None:
        return None
    track = _tracked(best, task, localizer, root)
    crop_frame = min(task.query.crop_frame, task.num_frames - 1)
    return cut_at(track, crop_frame, best.frame_idx)  # as the run's own tracks


def _tracked(seed: Candidate, task: Task, localizer: Localizer, root: Path) -> ResponseTrack:
    """The track of a candidate with a box."""
    return track_candidate(
        seed,
        open_clip(root, task.clip),
        localizer.models.tracker,
        task.search_end,
        localizer.config.track,
    )


ORACLES = {
    "seeds": Oracle(
        stem="true-seeds",
        title="with the true box at the found frame",
        trouble=Trouble.NO_TRUE_SEED,
        correct=from_true_seed,
    ),
    "outlines": Oracle(
        stem="true-outlines",
        title="with outlines of the true boxes in the found track",
        trouble=Trouble.NO_TRUE_OUTLINE,
        correct=with_true_outlines,
    ),
    "occurrence": Oracle(
        stem="true-occurrence",
        title="with the candidate in the true track, if there is one",
        trouble=Trouble.NO_TRUE_OCCURRENCE,
        correct=from_true_occurrence,
    ),
}
"""By the name that the command line knows."""
