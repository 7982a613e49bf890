"""What a run leaves behind: submission, trace, pictures, page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from tqdm import tqdm

from ren_core.stages import remove_leftovers
from vq2d.ego4d.clips import open_clip
from vq2d.job.answers import load_localization
from vq2d.job.task import RunReport, Task, log_failure, reason_of
from vq2d.scoring.metrics import QueryResult, compute
from vq2d.show.files import POSTER, SUMMARY, VIDEO, PictureSet, identity_of
from vq2d.show.page import ReportEntry, Status, write_index
from vq2d.show.view import QueryPicture, picture_of
from vq2d.types import QueryKey


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


def _figures(rows: Sequence[QueryResult], queries: int) -> dict[str, str]:
    if not rows:
        return {}
    figures = {k: "-" if math.isnan(v) else f"{v:.3f}" for k, v in compute(rows).items()}
    return figures | ({} if len(rows) == queries else {"queries": f"{len(rows)} of {queries}"})
