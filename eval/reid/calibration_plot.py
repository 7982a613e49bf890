"""The calibration of a head as one picture: merging above, search below."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eval.reid.calibration import SetCalibration
from eval.reid.presence import PresenceRow, threshold_curve
from ren_core.plots import write_plot

COLOURS = ("#0b6e99", "#c2571a", "#4b7f3a", "#8a4f9e")
STYLES = ("-", "--", ":", "-.")
IN_USE: dict[str, Any] = {
    "color": "#555555",
    "linewidth": 0.9,
    "linestyle": (0, (4, 3)),
    "label": "in use",
}
FOUND, ELSEWHERE, ABSENT = "#4b7f3a", "#d9a514", "#aa3333"
THRESHOLDS = tuple(i / 100 for i in range(101))


@dataclass(frozen=True, kw_only=True, slots=True)
class InUse:
    """Values that a preset has, drawn as lines."""

    merge_similarity: float
    floor: float


def draw_calibration(
    path: Path, calibrations: Mapping[str, SetCalibration], kind: str, in_use: InUse
) -> None:
    """Draw merging for all kinds of tokens and search for one of them, as PNG.

    Args:
        path: File to write.
        calibrations: What was found, by set.
        kind: Kind of tokens whose search is shown.
        in_use: Values that are marked.
    """
    from matplotlib.figure import Figure

    panels = 1 + len(calibrations)
    figure = Figure(figsize=(10, 3.2 * panels), layout="constrained")
    axes = figure.subplots(panels, 2, squeeze=False)
    for axis in axes.ravel():
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(color="#e4e4e4", linewidth=0.6)
        axis.set_axisbelow(True)
    for axis in axes[0]:
        axis.axvline(in_use.merge_similarity, **IN_USE)
    _draw_merging(axes[0], calibrations)
    for (name, calibration), (left, right) in zip(calibrations.items(), axes[1:], strict=True):
        rows = [r for r in calibration.presence if r.kind == kind]
        for axis in (left, right):
            axis.axvline(in_use.floor, **IN_USE)
        _draw_similarities(left, rows, f"{name}: best token of a frame ({kind})")
        _draw_thresholds(right, rows, f"{name}: what a search threshold lets through")
    for axis in axes.ravel():
        axis.set_title(axis.get_title(), fontsize="medium")
    write_plot(figure, path)


def _draw_merging(axes: Any, calibrations: Mapping[str, SetCalibration]) -> None:  # noqa: ANN401
    """Regions per frame with the band of the middle 80 %, and what they still point at."""
    for style, (set_name, calibration) in zip(STYLES, calibrations.items(), strict=False):
        kinds = dict.fromkeys(point.kind for point in calibration.merging)
        for colour, kind in zip(COLOURS, kinds, strict=False):
            own = sorted(
                (p for p in calibration.merging if p.kind == kind), key=lambda p: p.similarity
            )
            x, look = [p.similarity for p in own], {"color": colour, "linestyle": style}
            band = [p.low for p in own], [p.high for p in own]
            axes[0].fill_between(x, *band, color=colour, alpha=0.12, linewidth=0)
            axes[0].plot(x, [p.regions for p in own], label=f"{kind}, {set_name}", **look)
            axes[1].plot(x, [p.on_object for p in own], marker="o", markersize=2.5, **look)
    axes[0].set(title="regions per frame (mean, 10-90 %)", yscale="log")
    axes[1].set(title="frames whose best region lies on the object", ylim=(0, 1.02))
    axes[0].legend(fontsize="x-small", frameon=False)
    for axis in axes:
        axis.set(xlabel="merge similarity μ (1: not merged)")


def _draw_similarities(axis: Any, rows: Sequence[PresenceRow], title: str) -> None:  # noqa: ANN401
    """Histograms of frames with the object found, with it missed, and without it."""
    there, gone = sum(r.present for r in rows), sum(not r.present for r in rows)
    found = [r.similarity for r in rows if r.on_object]
    elsewhere = [r.similarity for r in rows if r.present and not r.on_object]
    absent = [r.similarity for r in rows if not r.present]
    for colour, label, values, frames in (
        (FOUND, "object there, token on it", found, there),
        (ELSEWHERE, "object there, token elsewhere", elsewhere, there),
        (ABSENT, "object not there", absent, gone),
    ):
        weights = np.full(len(values), 1 / max(frames, 1))
        text = f"{label} ({len(values)})"
        axis.hist(
            values, np.linspace(0, 1, 41), weights=weights, color=colour, alpha=0.55, label=text
        )
    axis.set(title=title, xlabel="cosine to the query", ylabel="share of frames")
    axis.legend(fontsize="x-small", frameon=False)


def _draw_thresholds(axis: Any, rows: Sequence[PresenceRow], title: str) -> None:  # noqa: ANN401
    curve = threshold_curve(rows, THRESHOLDS)
    thresholds = [p.threshold for p in curve]
    axis.plot(thresholds, [p.recall for p in curve], color=FOUND, label="recall")
    axis.plot(thresholds, [p.precision for p in curve], color=COLOURS[0], label="precision")
    axis.plot(thresholds, [p.false_alarms for p in curve], color=ABSENT, label="false alarms")
    axis.set(title=title, xlabel="threshold", ylim=(0, 1.02))
    axis.legend(fontsize="x-small", frameon=False)
