"""All answers of a run on one page, each drawn once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from ren_core.progress import tqdm
from ren_core.stages import remove_leftovers
from vq2d.ego4d.clips import open_clip
from vq2d.job.task import Answer, RunReport, Trouble
from vq2d.scoring.metrics import QueryResult, compute
from vq2d.show.files import POSTER, SUMMARY, VIDEO, PictureSet, identity_of
from vq2d.show.page import Card, Status, write_index
from vq2d.show.view import AnswerView, view_of
from vq2d.types import QueryKey


def draw_all(
    report: RunReport,
    rows: Sequence[QueryResult],
    out: Path,
    *,
    root: Path,
    videos: bool = True,
    overwrite: bool = False,
) -> list[Card]:
    """Draw every answered query, unless that is done; what cannot be drawn is in the report.

    Args:
        report: What was answered; what is not drawn is noted in it.
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
    cards = []
    for answer in tqdm(report.answers, desc="pictures", unit="query", disable=None):
        task, key = answer.task, answer.task.key
        row = scored.get(key)
        title = task.query.object_title or str(key)
        metrics = {} if row is None else {"stIoU": row.st_iou, "tIoU": row.t_iou}
        pictures = PictureSet(
            out / "media" / quote(str(key), safe=""), identity_of(task, metrics, title)
        )
        if overwrite:
            pictures.forget()
        endings = (SUMMARY, POSTER, VIDEO) if videos else (SUMMARY,)
        with report.guard(Trouble.NOT_DRAWN, [key], f"pictures of {key}"):
            pictures.draw(endings, lambda: _view(answer, root, metrics, title))  # noqa: B023
        reason = _reason(report, key)
        cards.append(_card(answer, row, pictures, videos=videos, reason=reason))
    cards += [
        Card(title=str(key), status="missed", summary=None, reason=reason)
        for key, reason in report.reasons(Trouble.NOT_ANSWERED).items()
    ]
    return cards


def write_page(
    cards: Sequence[Card],
    rows: Sequence[QueryResult],
    out: Path,
    *,
    queries: int,
    preset: str,
    command: str,
) -> Path:
    """``index.html``: the figures and every query of the run.

    Args:
        cards: What ``draw_all`` gave.
        rows: The queries that the figures are made of.
        out: Folder of the run.
        queries: Valid queries of the annotation file.
        preset: Name of the configuration.
        command: The command line that made the run.
    """
    page = out / "index.html"
    write_index(
        cards,
        page,
        title="Visual queries: where was it last seen?",
        figures=_figures(rows, queries),
        preset=preset,
        command=command,
    )
    return page


def _view(answer: Answer, root: Path, metrics: Mapping[str, float], title: str) -> AnswerView:
    """What is drawn about an answer, with its clip open."""
    frames = open_clip(root, answer.task.clip)
    return view_of(answer.task.query, frames, answer.found, metrics=metrics, title=title)


def _card(
    answer: Answer, row: QueryResult | None, pictures: PictureSet, *, videos: bool, reason: str
) -> Card:
    task, track = answer.task, answer.found.track
    status: Status = "unknown"
    if row is not None:
        status = "found" if row.success else "missed"
    return Card(
        title=task.query.object_title or str(task.key),
        status=status,
        summary=pictures.path(SUMMARY),
        video=pictures.path(VIDEO) if videos else None,
        poster=pictures.path(POSTER) if videos else None,
        score=None if track is None else track.score,
        st_iou=None if row is None else row.st_iou,
        reason=reason,
    )


def _reason(report: RunReport, key: QueryKey) -> str:
    """What is wrong with an answered query, in one line; empty if nothing is."""
    kinds = (Trouble.CUT_SHORT, Trouble.NOT_SCORED, Trouble.NOT_DRAWN)
    known = {kind.value: report.reasons(kind).get(key) for kind in kinds}
    return "; ".join(f"{kind}: {why}" for kind, why in known.items() if why is not None)


def _figures(rows: Sequence[QueryResult], queries: int) -> dict[str, str]:
    if not rows:
        return {}
    figures = {k: "-" if math.isnan(v) else f"{v:.3f}" for k, v in compute(rows).items()}
    return figures | ({} if len(rows) == queries else {"queries": f"{len(rows)} of {queries}"})
