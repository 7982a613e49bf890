"""Plots as files."""

from __future__ import annotations

import pytest
from matplotlib.figure import Figure

from ren_core.images import read_image
from ren_core.plots import write_plot


def test_a_figure_becomes_a_png_of_its_size(tmp_path):
    write_plot(Figure(figsize=(3, 2), dpi=50), tmp_path / "plot.png")
    assert read_image(tmp_path / "plot.png").shape == (100, 150, 3)
    assert [path.name for path in tmp_path.iterdir()] == ["plot.png"]


def test_a_failure_leaves_no_file(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "matplotlib.backends.backend_agg.FigureCanvasAgg.print_png", lambda *_: 1 / 0
    )
    with pytest.raises(ZeroDivisionError):
        write_plot(Figure(), tmp_path / "plot.png")
    assert list(tmp_path.iterdir()) == []
