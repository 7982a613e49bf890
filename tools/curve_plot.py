"""Draw docs/curve.png, what more data and more steps give a region encoder, from docs/curve.csv.

    python -m tools.curve_plot

The figures in the table were measured by the commands in docs/experiments.md, "Head of the embedded
preset". Every column is drawn as a share of its first row, the patches.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from ren_core.plots import write_plot

DOCS = Path(__file__).parent.parent / "docs"


def main() -> int:
    """Draw the plot; 0."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", type=Path, default=DOCS / "curve.csv", help="figures by head")
    parser.add_argument("--out", type=Path, default=DOCS / "curve.png", help="file to write")
    args = parser.parse_args()
    write_plot(draw(pd.read_csv(args.table, index_col=0)), args.out)
    return 0


def draw(figures: pd.DataFrame) -> Figure:
    """Figures by head, of which the first row is what the others are compared with."""
    shares = figures.iloc[1:] / figures.iloc[0]
    figure = Figure(figsize=(9, 4.5), layout="constrained")
    axes = figure.add_subplot()
    heads = [head.replace(", ", "\n") for head in shares.index]
    for column in shares:
        axes.plot(heads, shares[column], marker="o", label=column)
    axes.axhline(1, color="black", linewidth=0.8)
    axes.set_ylabel(f"share of {figures.index[0]}")
    axes.legend()
    return figure


if __name__ == "__main__":
    sys.exit(main())
