"""Plots as files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ren_core.stages import atomic_path

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def write_plot(figure: Figure, path: Path) -> None:
    """Write a figure as PNG atomically, without a window or pyplot's memory of all figures."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # slow to import

    with atomic_path(path) as tmp, tmp.open("wb") as file:
        FigureCanvasAgg(figure).print_png(file)
