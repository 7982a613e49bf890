"""The lower part of a query's summary: similarity over time, candidates, tracks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from vq2d.show.paint import CANDIDATE, PREDICTED, QUERY, TRUTH, hex_colour
from vq2d.show.view import AnswerView, similarity_range
from vq2d.types import Candidate

INK, FAINT_INK, CURVE_INK = "#1d2127", "#6a7280", "#4b5563"


def draw_similarity(axes: Any, view: AnswerView) -> None:  # noqa: ANN401 - matplotlib axes
    """Similarity and candidates over clip frames, the tracks' frames shaded."""
    frames = np.arange(len(view.similarity))
    curve = view.similarity.astype(np.float64)
    low, high = similarity_range(view)
    for track, colour, line in ((view.track, PREDICTED, "-"), (view.truth, TRUTH, (0, (4, 3)))):
        if track is not None:
            span = (track.start_frame - 0.5, track.end_frame - 0.5)
            axes.axvspan(*span, color=hex_colour(colour), alpha=0.14, linewidth=0)
            for x in span:
                axes.axvline(x, color=hex_colour(colour), linestyle=line, linewidth=1.4)
    axes.fill_between(frames, low, curve, color=CURVE_INK, alpha=0.10, linewidth=0)
    axes.plot(frames, curve, color=CURVE_INK, linewidth=1.3, label="best token similarity")
    _plot_isolated(axes, curve)
    _plot_candidates(axes, view.candidates)
    _mark_frames(axes, view)
    axes.set(xlim=frame_limits(view), ylim=(low, high))
    axes.set_ylabel("cosine similarity", fontsize=11, color=INK)
    axes.tick_params(labelsize=10, labelbottom=False, color=FAINT_INK, labelcolor=INK)
    axes.grid(axis="y", color="#e3e6ea", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(-0.01, 1.0),
        ncols=7,
        frameon=False,
        fontsize=10.5,
        borderaxespad=0.2,
        columnspacing=1.6,
        handlelength=1.6,
    )


def draw_lanes(axes: Any, view: AnswerView) -> None:  # noqa: ANN401 - matplotlib axes
    """Two rows of bars: the frames of the answer and of the truth."""
    rows = (
        (1, view.track, PREDICTED, "no answer"),
        (0, view.truth, TRUTH, "unknown"),
    )
    start, end = frame_limits(view)
    for y, track, colour, absent in rows:
        axes.axhspan(y - 0.33, y + 0.33, color="#f0f2f4", linewidth=0)
        if track is None:
            place = ((start + end) / 2, y)
            axes.text(*place, absent, ha="center", va="center", fontsize=10, color=FAINT_INK)
            continue
        width = max(len(track.boxes_xyxy), 0.002 * (end - start))
        span = [(track.start_frame - 0.5, width)]
        axes.broken_barh(span, (y - 0.33, 0.66), color=hex_colour(colour))
    axes.set(xlim=(start, end), ylim=(-0.55, 1.55), yticks=(1, 0))
    axes.set_yticklabels(("predicted", "truth"), fontsize=10.5, color=INK)
    axes.set_xlabel("clip frame (5 per second)", fontsize=11, color=INK)
    axes.tick_params(axis="x", labelsize=10, color=FAINT_INK, labelcolor=INK)
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)


def _plot_isolated(axes: Any, curve: Any) -> None:  # noqa: ANN401
    """Dots for single values between NaN, which a line cannot show."""
    known = np.concatenate([[False], np.isfinite(curve), [False]])
    alone = np.flatnonzero(known[1:-1] & ~known[:-2] & ~known[2:])
    axes.plot(alone, curve[alone], ".", color=CURVE_INK, markersize=3)


def _plot_candidates(axes: Any, candidates: Sequence[Candidate]) -> None:  # noqa: ANN401
    """Circles at the similarity, diamonds at the refined score, a line between the two."""
    if not candidates:
        return
    colour = hex_colour(CANDIDATE)
    refined = [(c.frame_idx, c.similarity, c.refined_score) for c in candidates]
    refined = [triple for triple in refined if triple[2] is not None]
    if refined:
        x, low, high = zip(*refined, strict=True)
        axes.vlines(x, low, high, color=colour, linewidth=1.2, zorder=3)
        axes.plot(
            x,
            high,
            "D",
            color="white",
            markeredgecolor=colour,
            markeredgewidth=1.8,
            markersize=6.5,
            label="refined score",
            zorder=5,
        )
    x, y = zip(*((c.frame_idx, c.similarity) for c in candidates), strict=True)
    style = {"color": colour, "markeredgecolor": "white", "markersize": 8, "zorder": 4}
    axes.plot(x, y, "o", label="candidate", **style)


def _mark_frames(axes: Any, view: AnswerView) -> None:  # noqa: ANN401
    """Where the query is asked, where its crop is, and what is not searched."""
    colour = hex_colour(QUERY)
    crop, query = view.query.crop_frame, view.query.query_frame
    note = " (not in the clip)" if crop != view.crop_frame else ""
    axes.axvline(query, color=colour, linewidth=2, label=f"query frame {query}")
    if not view.query_views:
        axes.axvline(
            view.crop_frame,
            color=colour,
            linewidth=2,
            linestyle=(0, (1, 1.2)),
            label=f"crop frame {crop}{note}",
        )
    _, end = frame_limits(view)
    if query < end:
        axes.axvspan(
            max(query, -0.5),
            end,
            facecolor="none",
            edgecolor="#cfd4da",
            hatch="///",
            linewidth=0,
            label="not searched",
            zorder=0,
        )


def frame_limits(view: AnswerView) -> tuple[float, float]:
    """From the first frame to shortly after the last that matters, half a frame around."""
    ends = [t.end_frame for t in (view.track, view.truth) if t is not None]
    end = max([view.window_end, view.crop_frame_end, *ends])
    return -0.5, min(round(1.04 * end) + 1, len(view.frames)) - 0.5
