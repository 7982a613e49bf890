"""Ablations on segmentation: token count and quality against μ, prompting with and without merging.

Both are read off the scores of one comparison, so that every row has the same heads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval.segmentation.compare import Score
from eval.segmentation.config import Method, merging_of
from eval.segmentation.confusion import mean_iou
from eval.segmentation.report import by_method, mean_and_spread
from ren_core.plots import write_plot
from ren_core.presets import PROMPTING, Prompting, RENConfig
from ren_core.stages import plain_fields

PATCHES = Method(source="patches")
Column = Mapping[str, float]
"""Another task's figure by method name, such as R-precision of retrieval."""

RETRIEVAL_FIGURES = {"mAP": "ap", "mRP": "precision"}
"""What stands in a table: its key in the results of one-shot retrieval."""


@dataclass(frozen=True, slots=True)
class AblationRow:
    """One method over all seeds.

    Attributes:
        method: What was scored.
        tokens: Distinct tokens per image, mean.
        miou: At original resolution, mean over seeds.
        spread: Standard deviation over seeds.
    """

    method: Method
    tokens: float
    miou: float
    spread: float


def token_count_methods(
    thresholds: Sequence[float], regions: Sequence[int] = (), prompting: Prompting = "grid"
) -> list[Method]:
    """Patches, REN tokens each for itself, and merged: by every cosine, into so many regions."""
    merged = sorted(set(thresholds), reverse=True)
    return [
        PATCHES,
        Method(prompting=prompting),
        *(Method(prompting=prompting, merge_similarity=mu) for mu in merged),
        *(Method(prompting=prompting, regions=count) for count in sorted(set(regions))),
    ]


def prompting_methods(merging: Mapping[str, Any]) -> list[Method]:
    """Grid and SLIC prompts, each without and with merging (see ``merging_of``)."""
    return [
        Method(prompting=prompting, **merged) for prompting in PROMPTING for merged in ({}, merging)
    ]


def rows_of(scores: Sequence[Score], methods: Sequence[Method]) -> list[AblationRow]:
    """The rows of some methods, in their order.

    Raises:
        KeyError: If one was not scored.
    """
    grouped = by_method(scores)
    rows = []
    for method in methods:
        group = grouped[method.name]
        miou, spread = mean_and_spread([mean_iou(score.at_original) for score in group])
        rows.append(AblationRow(method, group[0].tokens, miou, spread))
    return rows


def ablation_table(
    title: str, rows: Sequence[AblationRow], columns: Mapping[str, Column] | None = None
) -> str:
    """A titled table in percent; other tasks stand in further columns, - where unknown."""
    columns = columns or {}
    head = f"{'method':<18} {'tokens':>7} {'mIoU':>14}" + "".join(f" {n:>10}" for n in columns)
    lines = [title, head]
    for row in rows:
        cells = [c.get(row.method.name) for c in columns.values()]
        more = "".join(f" {'-' if cell is None else f'{100 * cell:.1f}':>10}" for cell in cells)
        miou = f"{100 * row.miou:.2f} ± {100 * row.spread:.2f}"
        lines.append(f"{row.method.name:<18} {row.tokens:>7.1f} {miou:>14}{more}")
    return "\n".join(lines)


def retrieval_column(result: Mapping[str, Any], figure: str) -> dict[str, float]:
    """A figure of the methods of one run of one-shot retrieval: patches, and REN as it was set.

    Args:
        result: Content of the ``retrieval.json`` of ``run_retrieval.py``.
        figure: A key of ``RETRIEVAL_FIGURES``.
    """
    ren = RENConfig(**plain_fields(result["ren"]))
    merged = merging_of(ren) if ren.aggregate else {}
    methods = {"patches": PATCHES, "ren": Method(prompting=ren.prompting, **merged)}
    key = RETRIEVAL_FIGURES[figure]
    found = {methods[source].name: row[key] for source, row in result["figures"].items()}
    return {name: float(value) for name, value in found.items() if value is not None}


def mean_column(columns: Sequence[Column]) -> dict[str, float]:
    """Means over the columns that know a method.

    >>> mean_column([{"a": 1.0, "b": 2.0}, {"a": 3.0}])
    {'a': 2.0, 'b': 2.0}
    """
    names = dict.fromkeys(name for column in columns for name in column)
    known = {name: [column[name] for column in columns if name in column] for name in names}
    return {name: sum(values) / len(values) for name, values in known.items()}


def plot_token_count(path: Path, rows: Sequence[AblationRow], caption: str) -> None:
    """Tokens per image against μ, and mIoU against tokens for both ways of merging; as PNG.

    Args:
        path: Target.
        rows: Of ``token_count_methods``; patches and unmerged tokens become levels.
        caption: What was measured, in one line.
    """
    from matplotlib.figure import Figure

    merged = [row for row in rows if row.method.merge_similarity is not None]
    figure = Figure(figsize=(8, 3.4), layout="constrained")
    counts, quality = figure.subplots(1, 2)
    counts.plot([r.method.merge_similarity for r in merged], [r.tokens for r in merged], "o-")
    counts.set(xlabel="merge threshold μ (cosine)", ylabel="tokens per image", ylim=(0, None))
    regions = [row for row in rows if row.method.regions is not None]
    for chosen, label in ((merged, "REN, linked from μ"), (regions, "REN, k-means")):
        if chosen:
            quality.errorbar(
                [r.tokens for r in chosen],
                [100 * r.miou for r in chosen],
                [100 * r.spread for r in chosen],
                fmt="o-", capsize=3, label=label,
            )  # fmt: skip
    whole = [row for row in rows if not row.method.merged]
    for row, style in zip(whole, ("C2--", "C3:"), strict=False):
        label = f"{row.method.source}, {row.tokens:.0f} tokens"
        quality.axhline(100 * row.miou, color=style[:2], linestyle=style[2:], label=label)
    quality.set(xlabel="tokens per image", ylabel="mIoU, %", xlim=(0, None))
    quality.legend(fontsize="small", loc="lower right")
    for axis in (counts, quality):
        axis.grid(alpha=0.3, which="both")
    figure.suptitle(caption, fontsize="medium")
    write_plot(figure, path)
