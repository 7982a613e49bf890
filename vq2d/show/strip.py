"""The strip below the frames of a query's video: similarity, candidates, tracks, cursor."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from ren_core.drawing import Picture
from vq2d.show.paint import (
    CANDIDATE,
    FAINT,
    GRID,
    PAPER,
    PREDICTED,
    QUERY,
    TEXT,
    TRUTH,
    WHITE,
    Colour,
    paint_box,
    paint_text,
    shorten,
    text_width,
)
from vq2d.show.view import CLIP_FPS, AnswerView, clock, similarity_range

STRIP_HEIGHT = 136
HEAD_Y, LEGEND_Y = 12, 31
CURVE_TOP, CURVE_BOTTOM = 44, 98
PREDICTED_TOP, TRUTH_TOP, BAR_HEIGHT = 102, 110, 6
TICK_Y = 127
LEFT, RIGHT = 38, 10  # margins of the plot, px
CURVE: Colour = (176, 182, 192)
TICK_STEPS = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 3600)  # seconds
TICK_SPACING = 70  # px
SUBPIXEL_BITS = 4


class TimelineStrip:
    """Draws everything that does not move once; ``at`` adds the cursor of one frame."""

    def __init__(self, view: AnswerView, width: int, num_frames: int) -> None:
        """Prepare a strip of ``width`` pixels over the first ``num_frames`` frames."""
        self._num_frames = num_frames
        self._plot_width = width - LEFT - RIGHT
        self._low, self._high = similarity_range(view)
        self._similarity = view.similarity[:num_frames]
        self._background = np.full((STRIP_HEIGHT, width, 3), PAPER, np.uint8)
        self._draw_scales()
        self._draw_curve()
        self._draw_events(view)
        _draw_legend(self._background, legend_kinds(view, num_frames))
        room = width - 16 - text_width(self._clock_text(num_frames - 1), 12) - 16
        heading = shorten(view.heading, room, 12, bold=True)
        paint_text(self._background, heading, (8, HEAD_Y), bold=True)

    def at(self, frame_idx: int) -> Picture:
        """The strip (STRIP_HEIGHT, width, 3) while ``frame_idx`` is shown."""
        strip = self._background.copy()
        x = round(self._x(frame_idx + 0.5))
        strip[CURVE_TOP - 2 : TRUTH_TOP + BAR_HEIGHT + 2, x : x + 1] = WHITE
        value = self._similarity[frame_idx] if frame_idx < len(self._similarity) else np.nan
        if np.isfinite(value):
            cv2.circle(strip, (x, round(self._y(float(value)))), 3, WHITE, -1, cv2.LINE_AA)
        place = (strip.shape[1] - 8, HEAD_Y)
        paint_text(strip, self._clock_text(frame_idx), place, anchor="rm")
        return strip

    def _clock_text(self, frame_idx: int) -> str:
        return f"frame {frame_idx} · {clock(frame_idx)}"

    def _x(self, frame: float) -> float:
        """Left edge of a frame's slot; a frame's centre is at ``frame + 0.5``."""
        return LEFT + frame * self._plot_width / self._num_frames

    def _y(self, value: float) -> float:
        share = (value - self._low) / (self._high - self._low)
        return CURVE_BOTTOM - share * (CURVE_BOTTOM - CURVE_TOP)

    def _draw_scales(self) -> None:
        """Grid, seconds below, two similarities at the left."""
        strip = self._background
        seconds = self._num_frames / CLIP_FPS
        most = max(2, self._plot_width // TICK_SPACING)
        step = next((s for s in TICK_STEPS if seconds / s <= most), TICK_STEPS[-1])
        for second in np.arange(0, seconds, step):
            x = round(self._x(second * CLIP_FPS))
            strip[CURVE_TOP:CURVE_BOTTOM, x] = GRID
            text = f"{int(second) // 60}:{int(second) % 60:02d}"
            half = text_width(text, 10) / 2
            x = int(np.clip(x, half + 2, strip.shape[1] - half - 2))
            paint_text(strip, text, (x, TICK_Y), size=10, colour=FAINT, anchor="mm")
        for share in (0.12, 0.88):
            value = self._low + share * (self._high - self._low)
            place = (LEFT - 6, self._y(value))
            paint_text(strip, f"{value:.2f}", place, size=10, colour=FAINT, anchor="rm")
        strip[CURVE_BOTTOM, LEFT : LEFT + self._plot_width] = FAINT

    def _draw_curve(self) -> None:
        """The similarity, interrupted where it is NaN, with a shade below."""
        scale = 1 << SUBPIXEL_BITS
        for frames in finite_runs(self._similarity):
            points = np.array([(self._x(i + 0.5), self._y(self._similarity[i])) for i in frames])
            ends = np.array([(points[-1, 0], CURVE_BOTTOM), (points[0, 0], CURVE_BOTTOM)])
            area = (np.vstack([points, ends]) * scale).round().astype(np.int32)
            shaded = self._background.copy()
            cv2.fillPoly(shaded, [area], CURVE, cv2.LINE_AA, SUBPIXEL_BITS)
            self._background[:] = cv2.addWeighted(shaded, 0.25, self._background, 0.75, 0)
            line = area[:-2]
            if len(frames) == 1:
                line = line + np.array([[-scale, 0], [scale, 0]], np.int32)
            cv2.polylines(self._background, [line], False, CURVE, 1, cv2.LINE_AA, SUBPIXEL_BITS)

    def _draw_events(self, view: AnswerView) -> None:
        """What was not searched, query and crop frames, candidates, tracks."""
        strip = self._background
        if view.window_end < self._num_frames:
            after = strip[
                CURVE_TOP - 2 : TRUTH_TOP + BAR_HEIGHT + 2, round(self._x(view.window_end)) :
            ]
            after[:] = (after * 0.45).astype(np.uint8)
        for top in (PREDICTED_TOP, TRUTH_TOP):
            strip[top : top + BAR_HEIGHT, LEFT : LEFT + self._plot_width] = GRID
        for track, top, colour in (
            (view.track, PREDICTED_TOP, PREDICTED),
            (view.truth, TRUTH_TOP, TRUTH),
        ):
            if track is not None:
                start, end = round(self._x(track.start_frame)), round(self._x(track.end_frame))
                end = min(max(end, start + 2), LEFT + self._plot_width)
                strip[top : top + BAR_HEIGHT, start:end] = colour
        _draw_line(strip, round(self._x(view.window_end)), QUERY, gap=0)
        if 0 < view.crop_frame_end <= self._num_frames:
            _draw_line(strip, round(self._x(view.crop_frame + 0.5)), QUERY, gap=3)
        for candidate in view.candidates:
            if candidate.frame_idx < self._num_frames:
                x = round(self._x(candidate.frame_idx + 0.5))
                _draw_dot(strip, x, round(self._y(candidate.similarity)))


def finite_runs(values: NDArray[np.floating]) -> Iterator[range]:
    """Ranges of consecutive finite values.

    >>> list(finite_runs(np.array([np.nan, 1, 2, np.nan, 3])))
    [range(1, 3), range(4, 5)]
    """
    finite = np.concatenate([[False], np.isfinite(values), [False]])
    edges = np.flatnonzero(finite[1:] != finite[:-1])
    for start, end in edges.reshape(-1, 2):
        yield range(int(start), int(end))


def _draw_line(strip: Picture, x: int, colour: Colour, *, gap: int) -> None:
    """A vertical line over the plot; dotted with a ``gap`` of some pixels."""
    x = min(x, strip.shape[1] - RIGHT)
    rows = np.arange(CURVE_TOP - 2, TRUTH_TOP + BAR_HEIGHT + 2)
    rows = rows[rows // gap % 2 == 0] if gap else rows
    strip[rows, x - 1 : x + 1] = colour


def _draw_dot(strip: Picture, x: int, y: int) -> None:
    cv2.circle(strip, (x, y), 5, PAPER, -1, cv2.LINE_AA)
    cv2.circle(strip, (x, y), 4, CANDIDATE, -1, cv2.LINE_AA)


def _draw_legend(strip: Picture, kinds: Sequence[str]) -> None:
    """Name what is drawn, as far as there is room."""
    x = 8
    for kind in kinds:
        text_x = x + 17
        end = text_x + text_width(kind, 11)
        if end > strip.shape[1] - 4:
            return
        _draw_sign(strip, kind, x)
        paint_text(strip, kind, (text_x, LEGEND_Y), size=11, colour=TEXT)
        x = round(end) + 14


def legend_kinds(view: AnswerView, num_frames: int) -> list[str]:
    """What the legend must explain in a strip over the first ``num_frames`` frames."""
    kinds = ["no answer" if view.track is None else "predicted"]
    if view.truth is not None:
        kinds.append("truth")
    if view.candidates:
        kinds.append("candidate")
    kinds.append("query frame")
    return [*kinds, "crop frame"] if 0 < view.crop_frame_end <= num_frames else kinds


def _draw_sign(strip: Picture, kind: str, x: int) -> None:
    """The sign of one legend entry, 12 pixels wide."""
    middle = x + 6
    if kind in ("predicted", "truth", "no answer"):
        colour = {"predicted": PREDICTED, "truth": TRUTH, "no answer": GRID}[kind]
        box = np.array([x, LEGEND_Y - 5, x + 12, LEGEND_Y + 6], np.float32)
        paint_box(strip, box, colour, dash=3 if kind == "truth" else 0)
    elif kind == "candidate":
        _draw_dot(strip, middle, LEGEND_Y)
    else:
        rows = np.arange(LEGEND_Y - 6, LEGEND_Y + 7)
        rows = rows if kind == "query frame" else rows[rows // 3 % 2 == 0]
        strip[rows, middle - 1 : middle + 1] = QUERY
