"""The page that shows every query of a run; one file that a browser opens from disk."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined

from ren_core.stages import write_text

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
    pages = Environment(
        loader=PackageLoader("vq2d.show"),
        autoescape=lambda name: name is not None and name.endswith(".html"),
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    pages.filters |= {"number": _number, "link": lambda file: _link(file, path.parent)}
    text = pages.get_template("page.html").render(
        title=title,
        figures=figures,
        preset=preset,
        command=command,
        cards=entries,
        statuses=STATUS_NAMES,
        orders=ORDERS,
    )
    write_text(path, text + "\n")


def _number(value: float | None) -> str:
    """A number for the script; empty if there is none."""
    return "" if value is None or not math.isfinite(value) else repr(float(value))


def _link(file: Path, folder: Path) -> str:
    """Relative link to a file."""
    return quote(Path(os.path.relpath(file, folder)).as_posix())
