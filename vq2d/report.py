"""What a run leaves behind: submission, trace, pictures, page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from ren_core.stages import remove_leftovers, write_json
from vq2d.annotations import Annotations
from vq2d.localizer import Localization
from vq2d.metrics import QueryResult, compute
from vq2d.pictures import POSTER, SUMMARY, VIDEO, PictureSet, identity_of
from vq2d.query_picture import QueryPicture
from vq2d.report_page import ReportEntry, Status, write_index
from vq2d.results import load_localization, trace
from vq2d.runner import RunReport, Task, log_failure, reason_of
from vq2d.submission import build_submission
from vq2d.types import FrameSource, QueryKey, ResponseTrack, VisualQuery
from vq2d.video import open_clip


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
    """``failures.json``: by kind of trouble the reason for each query; an empty object if none."""
    path = out / "failures.json"
    troubles = {
        kind: {str(key): reasons[key] for key in sorted(reasons, key=str)}
        for kind, reasons in report.troubles.items()
    }
    write_json(path, troubles)
    return path


def draw_all(
    report: RunReport,
    rows: Sequence[QueryResult],
    out: Path,
    *,
    root: Path,
    videos: bool = True,
    overwrite: bool = False,
) -> list[ReportEntry]:
    """Draw every answered query, unless that is done; what cannot be drawn is in the report.

    Args:
        report: What was answered; ``undrawn`` is filled.
        rows: The scores of those queries whose truth is known.
        out: Folder of the run; pictures go to ``media`` in it.
        root: Folder of the data.
        videos: Also write a video per query.
        overwrite: Draw again what is there.

    Returns:
        What the page shows of each query asked, answered ones first.
    """
    scored = {row.key: row for row in rows}
    remove_leftovers(out)
    entries = []
    for task in tqdm(report.tasks, desc="pictures", unit="query", disable=None):
        key = task.query.key
        row = scored.get(key)
        title = task.query.object_title or str(key)
        metrics = {} if row is None else {"stIoU": row.st_iou, "tIoU": row.t_iou}
        pictures = PictureSet(
            out / "media" / quote(str(key), safe=""), identity_of(task, metrics, title)
        )
        if overwrite:
            pictures.forget()
        endings = (SUMMARY, POSTER, VIDEO) if videos else (SUMMARY,)
        try:
            pictures.draw(endings, lambda: _view(task, root, metrics, title))  # noqa: B023
        except Exception as err:  # noqa: BLE001 - one bad picture never ends a run
            log_failure(f"pictures of {key}", err)
            report.undrawn[key] = reason_of(err)
        entries.append(_entry(task, row, pictures, videos=videos, reason=_reason(report, key)))
    entries += [
        ReportEntry(title=str(key), status="missed", summary=None, reason=reason)
        for key, reason in report.failures.items()
    ]
    return entries


def write_page(
    entries: Sequence[ReportEntry],
    rows: Sequence[QueryResult],
    out: Path,
    *,
    queries: int,
    preset: str,
    command: str,
) -> Path:
    """``index.html``: the figures and every query of the run.

    Args:
        entries: What ``draw_all`` gave.
        rows: The queries that the figures are made of.
        out: Folder of the run.
        queries: Valid queries of the annotation file.
        preset: Name of the configuration.
        command: The command line that made the run.
    """
    page = out / "index.html"
    write_index(
        entries,
        page,
        title="Visual queries: where was it last seen?",
        figures=_figures(rows, queries),
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


def _view(task: Task, root: Path, metrics: Mapping[str, float], title: str) -> QueryPicture:
    """What is drawn about a task, with its clip open."""
    frames, found = open_clip(root, task.clip), load_localization(task.path)
    return picture_of(task.query, frames, found, metrics=metrics, title=title)


def _entry(
    task: Task, row: QueryResult | None, pictures: PictureSet, *, videos: bool, reason: str
) -> ReportEntry:
    found = load_localization(task.path)
    status: Status = "unknown"
    if row is not None:
        status = "found" if row.success else "missed"
    return ReportEntry(
        title=task.query.object_title or str(task.query.key),
        status=status,
        summary=pictures.path(SUMMARY),
        video=pictures.path(VIDEO) if videos else None,
        poster=pictures.path(POSTER) if videos else None,
        score=None if found.track is None else found.track.score,
        st_iou=None if row is None else row.st_iou,
        reason=reason,
    )


def _reason(report: RunReport, key: QueryKey) -> str:
    """What is wrong with an answered query, in one line; empty if nothing is."""
    parts = {
        "answered in part": report.in_part.get(key),
        "left out of the figures": report.unscored.get(key),
        "could not be drawn": report.undrawn.get(key),
    }
    return "; ".join(f"{what}: {why}" for what, why in parts.items() if why is not None)


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


def _figures(rows: Sequence[QueryResult], queries: int) -> dict[str, str]:
    if not rows:
        return {}
    figures = {k: "-" if math.isnan(v) else f"{v:.3f}" for k, v in compute(rows).items()}
    return figures | ({} if len(rows) == queries else {"queries": f"{len(rows)} of {queries}"})


def in_original(track: ResponseTrack, task: Task) -> ResponseTrack:
    """A track in frame pixels, in the pixels that the annotation counts in."""
    H, W = task.size_hw
    original_h, original_w = task.query.original_size_hw
    return track.scaled((original_w / W, original_h / H))
