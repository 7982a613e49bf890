"""What the run would have scored with the true box where its candidate was right."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from ren_core.stages import write_json
from vq2d.ego4d.annotations import Annotations
from vq2d.ego4d.clips import open_clip
from vq2d.ego4d.submission import build_submission
from vq2d.job.answers import frame_truth, in_original, load_localization
from vq2d.job.task import RunReport, Task, log_failure, reason_of
from vq2d.localize.localizer import Localization, Localizer
from vq2d.localize.track import track_candidate
from vq2d.types import ResponseTrack


def write_oracle_submission(
    annotations: Annotations, report: RunReport, localizer: Localizer, *, root: Path, out: Path
) -> Path:
    """``submission-true-seeds.json``: tracks started from the true box of the found frame.

    A query whose candidate lies outside the true track keeps its answer, so the difference to
    ``submission.json`` is what segmentation loses, and the rest to 1 is search and tracking.
    One that cannot be tracked keeps its answer too, and ``report.unseeded`` has the reason.
    """
    tracks = {}
    for task in tqdm(report.tasks, desc="true seeds", unit="query", disable=None):
        found = load_localization(task.path)
        if found.track is None:
            continue
        track = found.track
        try:
            track = _from_true_box(task, found, localizer, root) or track
        except Exception as err:  # noqa: BLE001 - one bad query never ends a run
            log_failure(f"true seed of {task.query.key}", err)
            report.unseeded[task.query.key] = reason_of(err)
        tracks[task.query.key] = in_original(track, task)
    path = out / "submission-true-seeds.json"
    write_json(path, build_submission(annotations.document, tracks))
    return path


def _from_true_box(
    task: Task, found: Localization, localizer: Localizer, root: Path
) -> ResponseTrack | None:
    """The track from the true box of the frame that was found; None if that has none."""
    truth, seed = frame_truth(task.query, task.size_hw), found.seed
    if truth is None or seed is None:
        return None
    if not truth.start_frame <= seed.frame_idx < truth.end_frame:
        return None
    box = truth.boxes_xyxy[seed.frame_idx - truth.start_frame]
    return track_candidate(
        replace(seed, box_xyxy=box),
        open_clip(root, task.clip),
        localizer.tracker,
        task.search_end,
        localizer.config.track,
    )
