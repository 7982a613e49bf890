"""What the run would have scored with the true box where its candidate was right."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from ren_core.stages import write_json
from vq2d.ego4d.annotations import Annotations
from vq2d.ego4d.clips import open_clip
from vq2d.ego4d.documents import Document
from vq2d.ego4d.submission import build_submission
from vq2d.job.task import Answer, RunReport, Trouble
from vq2d.localize.localizer import Localizer
from vq2d.localize.track import track_candidate
from vq2d.types import ResponseTrack


def write_oracle_submission(
    annotations: Annotations, report: RunReport, localizer: Localizer, *, root: Path, out: Path
) -> Document:
    """``submission-true-seeds.json``: tracks started from the true box of the found frame.

    A query whose candidate lies outside the true track keeps its answer, so the difference to
    ``submission.json`` is what segmentation loses, and the rest to 1 is search and tracking.
    One that cannot be tracked keeps its answer too, and the report has the reason.
    """
    tracks = {}
    for answer in tqdm(report.answers, desc="true seeds", unit="query", disable=None):
        task, track = answer.task, answer.found.track
        if track is None:
            continue
        with report.guard(Trouble.NO_TRUE_SEED, [task.key], f"true seed of {task.key}"):
            track = _from_true_box(answer, localizer, root) or track
        tracks[task.key] = task.query.to_original(track, task.size_hw)
    submission = build_submission(annotations.document, tracks)
    write_json(out / "submission-true-seeds.json", submission)
    return submission


def _from_true_box(answer: Answer, localizer: Localizer, root: Path) -> ResponseTrack | None:
    """The track from the true box of the frame that was found; None if that has none."""
    task, seed = answer.task, answer.found.seed
    truth = task.truth
    if truth is None or seed is None:
        return None
    if not truth.start_frame <= seed.frame_idx < truth.end_frame:
        return None
    box = truth.boxes_xyxy[seed.frame_idx - truth.start_frame]
    return track_candidate(
        replace(seed, box_xyxy=box),
        open_clip(root, task.clip),
        localizer.models.tracker,
        task.search_end,
        localizer.config.track,
    )
