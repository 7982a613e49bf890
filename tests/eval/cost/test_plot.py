"""The plot of a comparison, complete or not."""

import dataclasses

import cv2

from eval.cost.plot import plot_costs
from eval.cost.sweep import CostPoint
from tests.eval.cost.fakes import fake_method


def test_the_plot_shows_lines_and_lost_points(tmp_path):
    base = CostPoint(method="fake", per_side=8, status="measured", seconds=1.0, peak_mib=10.0)
    lost = CostPoint(method="fake", per_side=32, status="out of memory")
    points = [base, dataclasses.replace(base, per_side=16, seconds=4.0), lost]
    drawn = {"with": (points, "m"), "without": (points[:2], "m"), "mode": (points, "other mode")}
    for name, (shown, mode) in drawn.items():
        plot_costs(tmp_path / f"{name}.png", [fake_method()], shown, mode)
    with_lost, without, mode = (cv2.imread(str(tmp_path / f"{n}.png")) for n in drawn)
    assert with_lost.shape == without.shape == mode.shape
    assert (with_lost != without).any()
    assert (with_lost != mode).any()


def test_a_plot_can_be_drawn_before_there_is_a_figure(tmp_path):
    encoder = CostPoint(method="fake", per_side=0, status="measured", seconds=1.0, peak_mib=0.0)
    free = dataclasses.replace(encoder, per_side=8)  # as where memory cannot be read
    lost = CostPoint(method="fake", per_side=8, status="out of memory")
    for i, points in enumerate(([encoder], [encoder, free], [encoder, lost], [])):
        plot_costs(tmp_path / f"{i}.png", [fake_method()], points, "m")
        assert (tmp_path / f"{i}.png").stat().st_size > 1000
