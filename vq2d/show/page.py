"""The page that shows every query of a run; one file that a browser opens from disk."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from ren_core.stages import write_text
from vq2d.show.page_look import CSS, SCRIPT

Status = Literal["found", "missed", "unknown"]
STATUS_NAMES: dict[Status, str] = {"found": "found", "missed": "missed", "unknown": "no truth"}
ORDERS = (
    ("order 1", "query order"),
    ("score -1", "highest score"),
    ("score 1", "lowest score"),
    ("stIou -1", "highest stIoU"),
    ("stIou 1", "lowest stIoU"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One query on the page.

    Attributes:
        title: What is asked for.
        status: Whether the answer meets the truth; ``"unknown"`` without a truth.
        summary: The summary PNG; None where nothing could be drawn.
        video: The video, if one was drawn.
        poster: A picture that stands for the video until it is played.
        score: Confidence of the answer; None without one.
        st_iou: Overlap of answer and truth; None without a truth.
        reason: What went wrong with the query, one line; empty if nothing did.
    """

    title: str
    status: Status
    summary: Path | None = None
    video: Path | None = None
    poster: Path | None = None
    score: float | None = None
    st_iou: float | None = None
    reason: str = ""


def write_index(
    entries: Sequence[Card],
    path: Path,
    *,
    title: str,
    figures: Mapping[str, str],
    preset: str = "",
    command: str = "",
) -> None:
    """Write a self-contained page with a card per query.

    Args:
        entries: The queries in their order; their files are linked relative to the page.
        path: Target, such as ``index.html``.
        title: Heading of the page.
        figures: Names and formatted values for the head, such as the six official figures.
        preset: Name of the configuration.
        command: The command line that made the run.
    """
    cards = [_card(entry, i, path.parent) for i, entry in enumerate(entries)]
    page = f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>{CSS}</style>
</head>
<body>
<header>
<h1>{escape(title)}</h1>
{_facts(preset, command)}{_figures(figures)}</header>
{_bar(entries)}
<main>
{"".join(cards)}</main>
<script>{SCRIPT}</script>
</body>
</html>
"""
    write_text(path, page)


def _facts(preset: str, command: str) -> str:
    lines = [f"preset <b>{escape(preset)}</b>"] if preset else []
    lines += [f"<code>{escape(command)}</code>"] if command else []
    return "".join(f'<p class="facts">{line}</p>\n' for line in lines)


def _figures(figures: Mapping[str, str]) -> str:
    if not figures:
        return ""
    items = [f"<li><b>{escape(v)}</b>{escape(k)}</li>" for k, v in figures.items()]
    return f'<ul class="figures">{"".join(items)}</ul>\n'


def _bar(entries: Sequence[Card]) -> str:
    """Buttons that filter, with counts, and the choice of the order."""
    counts = {"all": len(entries)} | {
        status: sum(entry.status == status for entry in entries) for status in STATUS_NAMES
    }
    names = {"all": "all"} | STATUS_NAMES
    buttons = [
        f'<button data-show="{key}" aria-pressed="{str(key == "all").lower()}">'
        f"{names[key]} {count}</button>"
        for key, count in counts.items()
        if count or key == "all"
    ]
    options = [f'<option value="{value}">{name}</option>' for value, name in ORDERS]
    choice = f"<label>order <select>{''.join(options)}</select></label>"
    return f'<nav class="bar">{"".join(buttons)}{choice}</nav>'


def _card(entry: Card, order: int, folder: Path) -> str:
    reason = f'<p class="reason">{escape(entry.reason)}</p>\n' if entry.reason else ""
    return f"""<section class="card" data-order="{order}" data-status="{entry.status}" \
data-score="{_number(entry.score)}" data-st-iou="{_number(entry.st_iou)}">
<div class="head"><span class="status {entry.status}">{STATUS_NAMES[entry.status]}</span>\
<h2>{escape(entry.title)}</h2>{_numbers(entry)}</div>
{reason}<div class="media">
{_summary(entry, folder)}{_video(entry, folder)}</div>
</section>
"""


def _numbers(entry: Card) -> str:
    pairs = (("score", entry.score), ("stIoU", entry.st_iou))
    shown = [f"{name} <b>{value:.3f}</b>" for name, value in pairs if _number(value)]
    return f'<span class="numbers">{" · ".join(shown)}</span>'


def _summary(entry: Card, folder: Path) -> str:
    if entry.summary is None:
        return ""
    link, title = _link(entry.summary, folder), escape(entry.title)
    image = f'<img src="{link}" alt="Summary of {title}" loading="lazy">'
    return f'<a href="{link}">{image}</a>\n'


def _video(entry: Card, folder: Path) -> str:
    if entry.video is None:
        return ""
    poster = f' poster="{_link(entry.poster, folder)}"' if entry.poster else ""
    return f'<video controls preload="none"{poster} src="{_link(entry.video, folder)}"></video>\n'


def _number(value: float | None) -> str:
    """A number for the script; empty if there is none."""
    return "" if value is None or not math.isfinite(value) else repr(float(value))


def _link(file: Path, folder: Path) -> str:
    """Relative link to a file, quoted for an attribute."""
    return escape(quote(Path(os.path.relpath(file, folder)).as_posix()))
