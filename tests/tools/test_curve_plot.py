"""The curve's plot draws what the table says, as shares of its first row."""

import sys

import pandas as pd

from tools import curve_plot


def test_columns_are_drawn_as_shares_of_the_first_row():
    table = pd.DataFrame({"a": [2.0, 1.0, 3.0], "b": [0.5, 0.5, 0.25]}, index=["x", "y, 1", "z"])
    (axes,) = curve_plot.draw(table).axes
    drawn = {line.get_label(): list(line.get_ydata()) for line in axes.lines[:2]}
    assert drawn == {"a": [0.5, 1.5], "b": [1.0, 0.5]}
    assert axes.get_ylabel() == "share of x"


def test_the_table_in_docs_can_be_drawn(tmp_path, monkeypatch):
    out = tmp_path / "curve.png"
    monkeypatch.setattr(sys, "argv", ["curve_plot", "--out", str(out)])
    assert curve_plot.main() == 0
    assert out.read_bytes().startswith(b"\x89PNG")
