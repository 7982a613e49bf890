"""The summary of one query on one page: question, answer, truth, similarity over time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ren_core.drawing import Picture
from ren_core.geometry import Boxes
from ren_core.stages import atomic_path
from vq2d.show.curve import FAINT_INK, INK, draw_lanes, draw_similarity
from vq2d.show.paint import CANDIDATE, PREDICTED, QUERY, TRUTH, Colour, hex_colour
from vq2d.show.view import MOST_GIVEN, AnswerView, box_at, clock
from vq2d.types import Candidate, ObjectView, ResponseTrack

WIDTH, DPI = 1400, 100  # px, px per inch
MARGIN, GAP = 20, 12
HEAD_HEIGHT, CAPTION_HEIGHT = 66, 46
PLOT_HEIGHT, LEGEND_HEIGHT, LANES_HEIGHT, FOOT_HEIGHT = 230, 34, 46, 52
PLOT_LEFT, PLOT_RIGHT = 92, 24
MAX_ROW_HEIGHT = 300
HEADING_LENGTH, DETAILS_LENGTH = 90, 150  # characters


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture of the top row with its caption, and boxes in its own pixels."""

    picture: Picture
    label: str
    caption: str
    colour: Colour
    boxes: Sequence[tuple[Boxes, Colour, str]] = ()

    @property
    def aspect(self) -> float:
        """Width over height of the cell, which leaves room for the caption of a narrow crop."""
        H, W = self.picture.shape[:2]
        return float(np.clip(W / H, 0.8, 2.0))


def draw_summary(view: AnswerView, path: Path) -> None:
    """Write the summary as PNG, 1400 pixels wide."""
    panels = choose_panels(view)
    row_height = (WIDTH - 2 * MARGIN - GAP * (len(panels) - 1)) / sum(p.aspect for p in panels)
    row_height = min(row_height, MAX_ROW_HEIGHT)
    plot_top = HEAD_HEIGHT + CAPTION_HEIGHT + row_height + 16 + LEGEND_HEIGHT
    lanes_top = plot_top + PLOT_HEIGHT + 8
    height = lanes_top + LANES_HEIGHT + FOOT_HEIGHT
    page = Page(height)
    page.write_head(view)
    x = (WIDTH - row_height * sum(p.aspect for p in panels) - GAP * (len(panels) - 1)) / 2
    for panel in panels:
        width = panel.aspect * row_height
        page.add_panel(panel, (x, HEAD_HEIGHT + CAPTION_HEIGHT, width, row_height))
        x += width + GAP
    plot_width = WIDTH - PLOT_LEFT - PLOT_RIGHT
    plot = page.add_axes((PLOT_LEFT, plot_top, plot_width, PLOT_HEIGHT))
    draw_similarity(plot, view)
    draw_lanes(page.add_axes((PLOT_LEFT, lanes_top, plot_width, LANES_HEIGHT)), view)
    page.save(path)


class Page:
    """A white figure whose places are given in pixels from the top left corner."""

    def __init__(self, height: float) -> None:
        self._height = round(height)
        self._figure = Figure(figsize=(WIDTH / DPI, self._height / DPI), dpi=DPI)
        FigureCanvasAgg(self._figure)

    def add_axes(self, place_xywh: tuple[float, float, float, float]) -> Any:  # noqa: ANN401
        """Axes with the given left, top, width and height."""
        x, y, width, height = place_xywh
        bottom = 1 - (y + height) / self._height
        return self._figure.add_axes((x / WIDTH, bottom, width / WIDTH, height / self._height))

    def write(self, text: str, x: float, y: float, **style: Any) -> None:  # noqa: ANN401
        """One line of text, its baseline ``y`` pixels from the top."""
        look: dict[str, Any] = {"color": INK, "parse_math": False} | style
        self._figure.text(x / WIDTH, 1 - y / self._height, text, **look)

    def write_head(self, view: AnswerView) -> None:
        """Title, and one line of facts."""
        self.write(_cut(view.heading, HEADING_LENGTH), MARGIN, 30, fontsize=16, weight="bold")
        facts = [_extent("predicted", view.track)]
        if view.truth is not None:
            facts.append(_extent("truth", view.truth))
        facts += [f"{name} {value:.3g}" for name, value in view.metrics.items()]
        text = _cut("   ·   ".join(facts), DETAILS_LENGTH)
        self.write(text, MARGIN, 56, fontsize=11.5, color=FAINT_INK)

    def add_panel(self, panel: Panel, place_xywh: tuple[float, float, float, float]) -> None:
        """A picture with its boxes, label and caption above."""
        x, y, width, _ = place_xywh
        axes = self.add_axes(place_xywh)
        H, W = panel.picture.shape[:2]
        factor = min(1.0, 2 * width / W)
        small = cv2.resize(panel.picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        axes.set_facecolor("#eceef1")
        axes.imshow(small, extent=(0, W, H, 0), interpolation="antialiased")
        for box, colour, line in panel.boxes:
            _outline(axes, box, colour, line)
        axes.set(xticks=[], yticks=[], anchor="NW")
        for spine in axes.spines.values():
            spine.set(color=hex_colour(panel.colour), linewidth=2.5)
        self.write(panel.label, x, y - 27, fontsize=11.5, weight="bold")
        self.write(panel.caption, x, y - 9, fontsize=10.5, color=FAINT_INK)

    def save(self, path: Path) -> None:
        """Write the page as PNG."""
        with atomic_path(path) as tmp:
            self._figure.savefig(tmp, format="png", dpi=DPI)


def choose_panels(view: AnswerView) -> list[Panel]:
    """The question; then start, middle and end of the answer, or the best candidates.

    One more panel shows the middle of the truth if the answer misses its frames.
    """
    panels = _query_panels(view)
    if view.track is not None:
        panels += [_frame_panel(view, i, n, PREDICTED) for i, n in _moments(view.track)]
    else:
        best = best_candidates(view.candidates)
        panels += [_frame_panel(view, c.frame_idx, "best candidate", CANDIDATE) for c in best]
    if view.truth is not None and not _overlap(view.track, view.truth):
        middle = (view.truth.start_frame + view.truth.end_frame - 1) // 2
        panels.append(_frame_panel(view, middle, "truth, middle", TRUTH))
    return panels


def _query_panels(view: AnswerView) -> list[Panel]:
    """The given pictures of the object, or the frame that shows it and its crop."""
    if view.query_views:
        return _given_panels(view.query_views)
    is_past = view.crop_frame != view.query.crop_frame
    caption = "crop frame is not in the clip" if is_past else _when(view.crop_frame)
    boxes = [(view.crop_box_xyxy, QUERY, "solid")]
    return [
        Panel(view.frames[view.crop_frame], "crop frame", caption, QUERY, boxes),
        Panel(view.crop_images()[0], "query crop", _size(view.crop_box_xyxy), QUERY),
    ]


def _given_panels(views: Sequence[ObjectView]) -> list[Panel]:
    """The pictures that were given, each with its box if that is not all of it; not too many."""
    panels = []
    for i, view in enumerate(views[:MOST_GIVEN]):
        H, W = view.picture.shape[:2]
        is_all = view.box_xyxy.tolist() == [0, 0, W, H]
        caption = f"{W} × {H} px" if is_all else f"{_size(view.box_xyxy)} of {W} × {H}"
        label = "query picture" if len(views) == 1 else f"query {i + 1} of {len(views)}"
        boxes = [] if is_all else [(view.box_xyxy, QUERY, "solid")]
        panels.append(Panel(view.picture, label, caption, QUERY, boxes))
    return panels


def best_candidates(candidates: Sequence[Candidate], count: int = 3) -> list[Candidate]:
    """The best by refined score, then by similarity, at most one per frame."""

    def rank(candidate: Candidate) -> tuple[float, float]:
        refined = candidate.refined_score
        return (-np.inf if refined is None else refined, candidate.similarity)

    ranked = sorted(candidates, key=rank, reverse=True)
    return list({c.frame_idx: c for c in reversed(ranked)}.values())[::-1][:count]


def _frame_panel(view: AnswerView, frame_idx: int, label: str, colour: Colour) -> Panel:
    """A frame of the clip with the boxes that are known there."""
    frame_idx = min(max(frame_idx, 0), len(view.frames) - 1)
    boxes = []
    for track, line_colour, line in (
        (view.track, PREDICTED, "solid"),
        (view.truth, TRUTH, "dashed"),
    ):
        box = box_at(track, frame_idx)
        if box is not None:
            boxes.append((box, line_colour, line))
    if colour == CANDIDATE:
        boxes += [
            (c.box_xyxy, CANDIDATE, "solid")
            for c in view.candidates
            if c.frame_idx == frame_idx and c.box_xyxy is not None
        ]
    return Panel(view.frames[frame_idx], label, _when(frame_idx), colour, boxes)


def _moments(track: ResponseTrack) -> list[tuple[int, str]]:
    """Start, middle and end of a track, each frame once."""
    last = track.end_frame - 1
    moments = {
        last: "predicted, end",
        (track.start_frame + last) // 2: "predicted, middle",
        track.start_frame: "predicted, start",
    }
    return sorted(moments.items())


def _overlap(a: ResponseTrack | None, b: ResponseTrack) -> bool:
    return a is not None and a.start_frame < b.end_frame and b.start_frame < a.end_frame


def _outline(axes: Any, box_xyxy: Boxes, colour: Colour, line: str) -> None:  # noqa: ANN401
    """A box with a dark rim; half-open boxes meet the pixels' edges."""
    x1, y1, x2, y2 = (float(v) for v in box_xyxy)
    strokes: list[tuple[float, str, Any]] = [
        (3.8, "#000000a0", "-"),
        (2.0, hex_colour(colour), "-"),
    ]
    if line == "dashed":  # no rim: it may lie on a solid box
        strokes = [(2.0, hex_colour(colour), (0, (2.5, 1.5)))]
    for width, ink, style in strokes:
        axes.add_patch(
            Rectangle(
                (x1, y1),
                x2 - x1,
                y2 - y1,
                fill=False,
                edgecolor=ink,
                linewidth=width,
                linestyle=style,
            )
        )


def _when(frame_idx: int) -> str:
    return f"frame {frame_idx} · {clock(frame_idx)}"


def _size(box_xyxy: Boxes) -> str:
    width, height = box_xyxy[2:] - box_xyxy[:2]
    return f"{width:.0f} × {height:.0f} px"


def _extent(name: str, track: ResponseTrack | None) -> str:
    if track is None:
        return f"{name}: none"
    return f"{name} frames {track.start_frame}–{track.end_frame - 1}"


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"
