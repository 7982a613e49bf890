"""What a run leaves behind: submission, trace, pictures, page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from ren_core.stages import write_json
from vq2d.annotations import Annotations
from vq2d.documents import has_truth
from vq2d.localizer import Localization
from vq2d.metrics import QueryResult, compute, per_query
from vq2d.query_picture import QueryPicture
from vq2d.report_page import ReportEntry, Status, write_index
from vq2d.results import load_localization, trace
from vq2d.runner import RunReport, Task
from vq2d.submission import build_submission
from vq2d.summary_plot import draw_summary
from vq2d.types import FrameSource, QueryKey, ResponseTrack, VisualQuery
from vq2d.video import open_clip
from vq2d.visualize import draw_poster, draw_video


def write_submission(annotations: Annotations, report: RunReport, out: Path) -> Path:
    """``submission.json``: an empty prediction for every query without an answer."""
    tracks = {}
    for task in report.tasks:
        found = load_localization(task.path)
        if found.track is not None:
            tracks[task.query.key] = in_original(found.track, task)
    path = out / "submission.json"
    write_json(path, build_submission(annotations.document, tracks))
    return path


def write_traces(report: RunReport, out: Path) -> Path | None:
    """``trace.json``: what each stage knew about the truth; None if no truth is known."""
    traces = {}
    for task in report.tasks:
        truth = frame_truth(task.query, task.size_hw)
        entry = trace(load_localization(task.path), truth)
        if entry is not None:
            traces[str(task.query.key)] = entry
    path = out / "trace.json"
    if traces:
        write_json(path, traces)
    return path if traces else None


def write_failures(report: RunReport, out: Path) -> Path:
    """``failures.json``: the reason for each query without an answer."""
    path = out / "failures.json"
    write_json(path, {str(key): reason for key, reason in sorted(report.failures.items(), key=str)})
    return path


def draw_all(
    annotations: Annotations,
    report: RunReport,
    out: Path,
    *,
    root: Path,
    preset: str,
    command: str,
    videos: bool = True,
) -> Path:
    """Draw every answered query and the page that shows them.

    Args:
        annotations: The questions.
        report: What was answered.
        out: Folder of the run; pictures go to ``media`` in it.
        root: Folder of the data.
        preset: Shown on the page.
        command: Shown on the page.
        videos: Also write a video per query.

    Returns:
        The path of ``index.html``.
    """
    scored = _scores(annotations, out)
    entries = []
    for task in tqdm(report.tasks, desc="pictures", unit="query", disable=None):
        frames = open_clip(root, task.clip)
        row = scored.get(task.query.key)
        entries.append(_draw(task, frames, row, out / "media", videos=videos))
    entries += [
        ReportEntry(title=str(key), status="missed", summary=None, reason=reason)
        for key, reason in report.failures.items()
    ]
    page = out / "index.html"
    write_index(
        entries,
        page,
        title="Visual queries: where was it last seen?",
        figures=_figures(list(scored.values())),
        preset=preset,
        command=command,
    )
    return page


def frame_truth(query: VisualQuery, size_hw: tuple[int, int]) -> ResponseTrack | None:
    """The true track in pixels of a video file of that size."""
    if query.response is None:
        return None
    return query.response.scaled(query.frame_scale(size_hw))


def picture_of(
    query: VisualQuery,
    frames: FrameSource,
    found: Localization,
    *,
    metrics: Mapping[str, float],
    title: str,
) -> QueryPicture:
    """What is drawn about one answer, in frame pixels."""
    return QueryPicture(
        query=query,
        frames=frames,
        crop_box_xyxy=query.crop_box_in(frames.size_hw),
        similarity=_per_frame(found, len(frames)),
        candidates=found.candidates,
        track=found.track,
        truth=frame_truth(query, frames.size_hw),
        metrics=metrics,
        title=title,
    )


def _draw(
    task: Task, frames: FrameSource, row: QueryResult | None, media: Path, *, videos: bool
) -> ReportEntry:
    found = load_localization(task.path)
    key = str(task.query.key)
    title = task.query.object_title or key
    metrics = {} if row is None else {"stIoU": row.st_iou, "tIoU": row.t_iou}
    view = picture_of(task.query, frames, found, metrics=metrics, title=title)
    summary, poster, video = (media / f"{key}{end}" for end in (".png", ".jpg", ".mp4"))
    draw_summary(view, summary)
    if videos:
        draw_poster(view, poster)
        draw_video(view, video)
    status: Status = "unknown"
    if row is not None:
        status = "found" if row.success else "missed"
    return ReportEntry(
        title=title,
        status=status,
        summary=summary,
        video=video if videos else None,
        poster=poster if videos else None,
        score=None if found.track is None else found.track.score,
        st_iou=None if row is None else row.st_iou,
    )


MOST_STRIDE = 8  # longer gaps in a similarity curve were not searched


def _per_frame(found: Localization, num_frames: int) -> NDArray[np.float32]:
    similarity = np.full(num_frames, np.nan, np.float32)
    inside = found.scores.frame_idx < num_frames
    values = found.scores.similarity[inside]
    similarity[found.scores.frame_idx[inside]] = np.where(values > 0, values, np.nan)
    known = np.flatnonzero(~np.isnan(similarity))
    for before, after in pairwise(known):  # frames that the stride left out
        if 1 < after - before <= MOST_STRIDE:
            similarity[before + 1 : after] = similarity[before]
    return similarity


def _scores(annotations: Annotations, out: Path) -> dict[QueryKey, QueryResult]:
    if not has_truth(annotations.document):
        return {}
    rows = per_query(out / "submission.json", annotations.document)
    return {row.key: row for row in rows}


def _figures(rows: Sequence[QueryResult]) -> dict[str, str]:
    if not rows:
        return {}
    return {k: "-" if math.isnan(v) else f"{v:.3f}" for k, v in compute(rows).items()}


def in_original(track: ResponseTrack, task: Task) -> ResponseTrack:
    """A track in frame pixels, in the pixels that the annotation counts in."""
    H, W = task.size_hw
    original_h, original_w = task.query.original_size_hw
    return track.scaled((original_w / W, original_h / H))
