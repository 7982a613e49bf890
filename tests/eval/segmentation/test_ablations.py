"""Ablations: which rows are scored, how they are read off, tables and the plot."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from eval.segmentation.ablations import (
    ablation_table,
    mean_column,
    plot_token_count,
    prompting_methods,
    retrieval_column,
    rows_of,
    token_count_methods,
)
from eval.segmentation.compare import Score
from eval.segmentation.config import Method, merging_of
from eval.segmentation.confusion import confusion
from ren_core.presets import RENConfig
from ren_core.stages import to_plain


def score(method, seed, right, tokens=10.0):
    """``right`` of four pixels of the only true class are found."""
    predicted = np.array([[0] * right + [1] * (4 - right)], np.uint8)
    counts = confusion(np.zeros((1, 4), np.uint8), predicted, 2)
    return Score(method, seed, counts, counts, tokens)


def test_rows_that_are_scored():
    counting = token_count_methods([0.9, 0.975, 0.9], [80, 40, 80], "slic")
    assert [m.name for m in counting] == [
        "patches-grid",
        "ren-slic",
        "ren-slic-0.975",
        "ren-slic-0.9",
        "ren-slic-k40",
        "ren-slic-k80",
    ]
    assert [m.name for m in prompting_methods({"merge_similarity": 0.95})] == [
        "ren-grid",
        "ren-grid-0.95",
        "ren-slic",
        "ren-slic-0.95",
    ]


def test_figures_are_means_and_spreads_over_seeds():
    grid, slic = Method(), Method(prompting="slic")
    scores = [score(grid, 0, 4), score(slic, 0, 2, 7.0), score(grid, 1, 2), score(slic, 1, 2, 7.0)]
    found = rows_of(scores, [slic, grid])
    assert [row.method for row in found] == [slic, grid]
    # all right: IoU 1, the other class absent; half right: IoU 1/2 and 0
    assert found[1].miou == pytest.approx((1 + 0.25) / 2)
    assert found[1].spread == pytest.approx(0.75 / np.sqrt(2))
    assert (found[0].miou, found[0].spread, found[0].tokens) == (0.25, 0, 7)
    with pytest.raises(KeyError):
        rows_of(scores, [Method(merge_similarity=0.9)])


def test_table_has_a_place_for_other_tasks():
    rows = rows_of([score(Method(), 0, 4), score(Method(prompting="slic"), 0, 2)],
                   [Method(), Method(prompting="slic")])  # fmt: skip
    table = ablation_table("Table 6", rows, {"RP@50": {"ren-grid": 0.662}})
    title, head, grid, slic = table.splitlines()
    assert title == "Table 6"
    assert head.split()[-1] == "RP@50"
    assert grid.split() == ["ren-grid", "10.0", "100.00", "±", "0.00", "66.2"]
    assert slic.split()[-1] == "-"
    assert "RP@50" not in ablation_table("Table 6", rows)


@pytest.mark.parametrize("prompting", ["grid", "slic"])
@pytest.mark.parametrize("aggregate", [False, True])
def test_retrieval_stands_in_the_row_of_its_own_settings(prompting, aggregate):
    config = RENConfig(
        encoder="e", head="h", prompting=prompting, aggregate=aggregate, merge_similarity=0.92
    )
    figures = {"patches": {"ap": 0.1, "precision": 0.2}, "ren": {"ap": 0.3, "precision": None}}
    result = {"ren": to_plain(config), "figures": figures}
    own = f"ren-{prompting}-0.92" if aggregate else f"ren-{prompting}"
    assert own in [m.name for m in prompting_methods(merging_of(config))]
    assert retrieval_column(result, "mAP") == {"patches-grid": 0.1, own: 0.3}
    assert retrieval_column(result, "mRP") == {"patches-grid": 0.2}  # the other one is undefined
    fixed = {"ren": to_plain(replace(config, regions=80)), "figures": figures}
    own = f"ren-{prompting}-k80" if aggregate else f"ren-{prompting}"
    assert retrieval_column(fixed, "mAP") == {"patches-grid": 0.1, own: 0.3}


def test_columns_of_several_runs_are_averaged():
    runs = [{"ren-grid": 0.25, "patches-grid": 0.5}, {"ren-slic": 0.75}, {"ren-grid": 0.75}]
    assert mean_column(runs) == {"ren-grid": 0.5, "patches-grid": 0.5, "ren-slic": 0.75}
    assert mean_column([]) == {}


def test_plot_is_a_picture(tmp_path):
    methods = token_count_methods([0.9, 0.95], [40, 80])
    scores = [score(m, s, 1 + i % 4, 30.0 * (i + 1)) for i, m in enumerate(methods) for s in (0, 1)]
    target = tmp_path / "plots" / "token_count.png"
    plot_token_count(target, rows_of(scores, methods), "tiny encoder")
    assert cv2.imread(str(target)).std() > 5
