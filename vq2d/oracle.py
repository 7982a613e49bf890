"""What the run would have scored with the true box where its candidate was right."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from ren_core.stages import write_json
from vq2d.annotations import Annotations
from vq2d.localizer import Localizer
from vq2d.report import frame_truth, in_original
from vq2d.results import load_localization
from vq2d.runner import RunReport
from vq2d.submission import build_submission
from vq2d.track import track_candidate
from vq2d.video import open_clip


def write_oracle_submission(
    annotations: Annotations, report: RunReport, localizer: Localizer, *, root: Path, out: Path
) -> Path:
    """``submission-true-seeds.json``: tracks started from the true box of the found frame.

    A query whose candidate lies outside the true track keeps its answer, so the difference to
    ``submission.json`` is what segmentation loses, and the rest to 1 is search and tracking.
    """
    tracks = {}
    for task in tqdm(report.tasks, desc="true seeds", unit="query", disable=None):
        found = load_localization(task.path)
        truth = frame_truth(task.query, task.size_hw)
        if found.track is None:
            continue
        track, seed = found.track, found.seed
        inside = (
            truth is not None
            and seed is not None
            and truth.start_frame <= seed.frame_idx < truth.end_frame
        )
        if inside and truth is not None and seed is not None:
            box = truth.boxes_xyxy[seed.frame_idx - truth.start_frame]
            frames = open_clip(root, task.clip)
            track = track_candidate(
                replace(seed, box_xyxy=box),
                frames,
                localizer.tracker,
                task.query.search_end(len(frames)),
                localizer.config.track,
            )
        tracks[task.query.key] = in_original(track, task)
    path = out / "submission-true-seeds.json"
    write_json(path, build_submission(annotations.document, tracks))
    return path
