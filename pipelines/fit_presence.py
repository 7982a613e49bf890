"""Fit the probability that a video shows a thing, on questions about present and absent things.

    python pipelines/run_figures.py --preset embedded --absent 2
    python pipelines/fit_presence.py --figures runs/figures

The first command asks the questions. The figures printed are of each set under the fit to the
others; the line at the end, fitted to all of them, belongs into a preset
(``vq2d/localize/presets.py``).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from pipelines.shared.figures import CHOOSING, PRESENCE_ONLY
from ren_core.command import exit_code
from ren_core.errors import DataError
from vq2d.localize.belief import BELIEVED
from vq2d.localize.presence import Evidence, PresenceConfig, probability
from vq2d.scoring.presence import (
    AskedRow,
    even_weights,
    presence_figures,
    presence_table,
    reliability,
    reliability_line,
)

EVIDENCE = tuple(field.name for field in fields(Evidence))


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--figures",
        type=Path,
        default=Path("runs/figures"),
        help="results of run_figures, with presence.json of each set (runs/figures)",
    )
    parser.add_argument(
        "--sets", nargs="+", default=[*CHOOSING, *PRESENCE_ONLY], help="which of them (those)"
    )
    parser.add_argument(
        "--shrink", type=float, default=1.0, help="weight of the squared factors in the loss (1)"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Fit; 0 done, 1 no rows."""
    args = build_parser().parse_args(argv)
    return exit_code(lambda: run(args))


def run(args: argparse.Namespace) -> None:
    """Fit without each set and with all, and print what that gives."""
    rows = {name: read_rows(args.figures / name / "presence.json") for name in args.sets}
    held_out = []
    for name, own in rows.items():
        others = fit([row for n in rows if n != name for row in rows[n]], args.shrink)
        judged = with_probability(own, others)
        held_out += [replace(row, query=f"{name} {row.query}") for row in judged]
        print_figures(name, judged)
    print_figures("all sets, each under the fit to the others", held_out)
    config = fit([row for own in rows.values() for row in own], args.shrink)
    print("\nPresenceConfig(" + ", ".join(f"{k}={v:.3f}" for k, v in terms(config).items()) + ")")


def read_rows(path: Path) -> list[AskedRow]:
    """The questions of one set.

    Raises:
        DataError: If there are none.
    """
    if not path.is_file():
        raise DataError(f"no {path}: ask with pipelines/run_figures.py --absent 2 first")
    return [AskedRow(**row) for row in json.loads(path.read_text())]


def fit(rows: Sequence[AskedRow], shrink: float) -> PresenceConfig:
    """Logistic regression; present and absent things weigh the same.

    Args:
        rows: Questions; those without evidence are left out.
        shrink: Weight of half the squared factors, each in standard deviations of its evidence.
    """
    used = [row for row in rows if row.similarity is not None]
    values = np.array([[getattr(row, name) for name in EVIDENCE] for row in used], np.float64)
    is_present = np.array([row.kind == "present" for row in used], np.bool_)
    mean, scale = values.mean(axis=0), values.std(axis=0) + 1e-6
    inputs = np.column_stack([(values - mean) / scale, np.ones(len(used))])
    sign = np.where(is_present, 1.0, -1.0)
    weight = len(used) * even_weights(is_present)

    def loss(factors: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        odds = sign * (inputs @ factors)
        shrunk = np.append(factors[:-1], 0.0)
        slope = -inputs.T @ (weight * sign / (1 + np.exp(odds)))
        value = float((weight * np.logaddexp(0, -odds)).sum() + shrink / 2 * shrunk @ shrunk)
        return value, slope + shrink * shrunk

    found = minimize(loss, np.zeros(inputs.shape[1]), jac=True, method="L-BFGS-B").x
    factors = found[:-1] / scale
    bias = float(found[-1] - factors @ mean)
    return PresenceConfig(bias=bias, **dict(zip(EVIDENCE, map(float, factors), strict=True)))


def with_probability(rows: Sequence[AskedRow], config: PresenceConfig) -> list[AskedRow]:
    """The rows with the probability that a fit gives them."""
    judged = []
    for row in rows:
        known = {name: getattr(row, name) for name in EVIDENCE}
        evidence = None if row.similarity is None else Evidence(**known)
        judged.append(replace(row, present=probability(evidence, config)))
    return judged


def terms(config: PresenceConfig) -> Mapping[str, float]:
    """Bias and factors by name."""
    assert config.bias is not None
    return {"bias": config.bias} | {name: getattr(config, name) for name in EVIDENCE}


def print_figures(title: str, rows: Sequence[AskedRow]) -> None:
    """AUC and recall of the probability and of the refined score, and how honest it is."""
    print(f"\n{title}")
    for score in ("refined", "present"):
        table = presence_table(presence_figures(rows, score, lengths=["all"]))
        print(table if score == "refined" else "\n".join(table.splitlines()[1:]))
    calibration = reliability(rows)
    if calibration is not None:
        there = np.array([row.kind == "present" for row in rows])
        is_said = np.array([row.value("present") >= BELIEVED for row in rows])
        print(
            f"{reliability_line(calibration)}; said to be there: {is_said[there].mean():.1%} of "
            f"the present, {is_said[~there].mean():.1%} of the absent things"
        )


if __name__ == "__main__":
    raise SystemExit(main())
