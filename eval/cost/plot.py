"""Time and memory against the number of prompts, as a plot on logarithmic axes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eval.cost.sweep import CostPoint, MethodFacts
from ren_core.plots import write_plot

MARKERS = "osD^vPX*"


def plot_costs(
    path: Path, methods: Sequence[MethodFacts], points: Sequence[CostPoint], mode: str
) -> None:
    """Write a PNG: seconds on the left, extra memory on the right, one line per method.

    Points that ran out of memory are crosses at the upper edge; those that were skipped stand in
    the line below the panels. A line's label says if its figures include the image encoder.

    Args:
        path: The file.
        methods: One line each.
        points: Theirs.
        mode: How many prompts pass through a network together, in words; the panels' title.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator

    figure = Figure(figsize=(11, 5), layout="constrained")
    panels = figure.subplots(1, 2)
    for axis, quantity in zip(panels, ("seconds", "peak_mib"), strict=True):
        for i, method in enumerate(methods):
            _draw(axis, method, [p for p in points if p.method == method.name], quantity, i)
        sides = sorted({p.per_side for p in points if p.per_side})
        axis.set(xscale="log", yscale="log", xlabel="prompts per image")
        axis.set_title(mode, fontsize=9, color="0.35")
        axis.set_xticks([s * s for s in sides], [f"{s}x{s}" for s in sides], minor=False)
        axis.minorticks_off()
        axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.yaxis.set_major_formatter("{x:g}")
        if not any((getattr(p, quantity) or 0) > 0 for p in points if p.per_side):
            axis.set(xlim=(1, 10), ylim=(1, 10))  # no figure yet that a logarithm can show
        axis.grid(color="0.9")
        axis.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("seconds per image")
    panels[1].set_ylabel("memory above the weights, MiB")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    missing = _not_measured(points)
    if missing:
        figure.supxlabel(missing, fontsize=8, color="0.35")
    write_plot(figure, path)


def _draw(
    axis: Any,  # noqa: ANN401 - matplotlib axes
    method: MethodFacts,
    points: Sequence[CostPoint],
    quantity: str,
    index: int,
) -> None:
    figures = [(p.per_side**2, getattr(p, quantity)) for p in points if p.per_side]
    known = [(x, y) for x, y in figures if y]  # a logarithm shows no 0
    label = f"{method.name}, {method.parameters / 1e6:.1f} M"
    if method.encoder_included:
        label += ", with image encoder"
    style = {"color": f"C{index}", "marker": MARKERS[index % len(MARKERS)], "markersize": 5}
    axis.plot([x for x, _ in known], [y for _, y in known], label=label, **style)
    lost = [p.per_side**2 for p in points if p.status == "out of memory" and p.per_side]
    axis.plot(
        lost,
        [0.98] * len(lost),
        "x",
        color=f"C{index}",
        transform=axis.get_xaxis_transform(),
        markersize=9,
        markeredgewidth=2,
    )


def _not_measured(points: Sequence[CostPoint]) -> str:
    parts = []
    for status, words in (("out of memory", "out of memory (x)"), ("skipped", "not measured")):
        found = [f"{p.method} {p.per_side}x{p.per_side}" for p in points if p.status == status]
        if found:
            parts.append(f"{words}: {'; '.join(found)}")
    return ".  ".join(parts)
