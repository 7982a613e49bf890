"""Present against absent: figures, their intervals, the table."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score, roc_curve

from vq2d.scoring.presence import (
    AskedRow,
    auc,
    presence_figures,
    presence_table,
    recall_at,
    reliability,
    resampled_auc_and_recall,
)


def row(query, kind, similarity, refined=0.5, search_frames=50):
    return AskedRow(
        query=query,
        clip_uid="clip",
        kind=kind,
        similarity=similarity,
        refined=refined,
        search_frames=search_frames,
        seconds=0.1,
    )


ROWS = [
    row("q1", "present", 0.9),
    row("q1", "other", 0.2),
    row("q1", "twin", 0.95),
    row("q2", "present", 0.8, search_frames=400),
    row("q2", "other", 0.3, search_frames=150),
    row("q3", "present", 0.7),
    row("q3", "other", 0.75),
]


def figure_of(figures, against, length="all"):
    (found,) = [f for f in figures if (f.against, f.length) == (against, length)]
    return found


def test_each_kind_of_absence_is_compared():
    figures = presence_figures(ROWS, "similarity", resamples=50)
    other, twin, both = (figure_of(figures, name) for name in ("other", "twin", "both"))
    assert (other.present, other.absent) == (3, 3)
    assert other.auc.value == pytest.approx(8 / 9)
    assert other.recall.value == pytest.approx(2 / 3)  # above 0.75: no false alarm in three
    assert (twin.absent, twin.auc.value, twin.recall.value) == (1, 0, 0)
    assert both.auc.value == pytest.approx(8 / 12)


def test_bins_hold_the_questions_of_their_length():
    figures = presence_figures(ROWS, "similarity", resamples=5)
    short = figure_of(figures, "both", "under 30 s")
    assert (short.present, short.absent) == (2, 3)
    middle = figure_of(figures, "both", "30-60 s")
    assert (middle.present, middle.absent) == (0, 1)
    assert math.isnan(middle.auc.value)
    assert math.isnan(middle.recall.low)


def test_the_chosen_score_is_ranked_and_none_is_the_least():
    rows = [row("q1", "present", 0.1, 0.9), row("q1", "other", 0.9, None)]
    assert figure_of(presence_figures(rows, "refined", resamples=1), "other").auc.value == 1
    assert figure_of(presence_figures(rows, "similarity", resamples=1), "other").auc.value == 0


def test_questions_of_a_query_are_drawn_together():
    """With one query there is nothing to draw: the interval is the figure, whatever the rows."""
    rng = np.random.default_rng(3)
    rows = [row("q1", kind, float(rng.random())) for kind in ["present", "other"] * 20]
    figure = figure_of(presence_figures(rows, "similarity", resamples=20), "other").auc
    assert figure.low == figure.value == figure.high


def test_intervals_hold_the_figure_and_are_the_same_every_time():
    rng = np.random.default_rng(4)
    rows = [
        row(f"q{i}", kind, float(rng.normal(kind == "present")))
        for i in range(30)
        for kind in ("present", "other", "other")
    ]
    first = presence_figures(rows, "similarity", resamples=200)
    figure = figure_of(first, "other").auc
    assert figure.low < figure.value < figure.high
    again = presence_figures(rows, "similarity", resamples=200)
    assert figure_of(again, "other") == figure_of(first, "other")
    other_seed = presence_figures(rows, "similarity", resamples=200, seed=1)
    assert figure_of(other_seed, "other").auc.low != figure.low


def test_resamples_without_present_things_do_not_count():
    rows = [row("q1", "present", 0.9), row("q2", "other", 0.1)]
    figure = figure_of(presence_figures(rows, "similarity", resamples=40), "other").auc
    assert (figure.value, figure.low, figure.high) == (1, 1, 1)


@pytest.mark.parametrize("seed", range(5))
def test_figures_are_those_of_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 12, 80) / 12  # many ties
    is_present = rng.random(80) < 0.4
    assert auc(scores, is_present) == pytest.approx(roc_auc_score(is_present, scores))
    alarms, recalls, _ = roc_curve(is_present, scores, drop_intermediate=False)
    assert recall_at(scores, is_present, 0.3) == pytest.approx(recalls[alarms <= 0.3].max())


def test_without_rows_of_both_sides_nothing_is_defined():
    assert math.isnan(auc(np.array([0.5]), np.array([True])))
    assert math.isnan(recall_at(np.array([0.5]), np.array([False]), 0.05))
    figures = presence_figures([], "refined", resamples=3)
    assert all(math.isnan(f.auc.value) for f in figures)
    assert presence_table(figures).count("\n") == 0


def test_the_table_has_a_line_per_comparison_with_both_sides():
    table = presence_table(presence_figures(ROWS, "similarity", resamples=20))
    lines = table.splitlines()
    assert "recall at 5% false alarms" in lines[0]
    assert lines[1].split()[:5] == ["similarity", "all", "other", "3", "3"]
    assert lines[1].split()[5] == "0.889"
    assert len(lines) == 1 + 3 + 3  # all lengths, and the short ones


def test_resampled_figures_are_those_of_the_drawn_list():
    rng = np.random.default_rng(1)
    scores = rng.integers(0, 12, 60) / 10  # with ties
    scores[:3] = -np.inf
    is_present = rng.random(60) < 0.4
    counts = rng.multinomial(60, np.full(60, 1 / 60), size=50)
    counts[0] = is_present  # no absent item
    found = resampled_auc_and_recall(scores, is_present, counts)
    for figures, drawn in zip(found, counts, strict=True):
        listed = np.repeat(np.arange(60), drawn)
        expected = [
            auc(scores[listed], is_present[listed]),
            recall_at(scores[listed], is_present[listed], 0.05),
        ]
        assert figures == pytest.approx(expected, nan_ok=True)


def asked(kind, present):
    return AskedRow(
        query="q", clip_uid="clip", kind=kind, search_frames=50, seconds=0.1, present=present
    )


def test_honest_probabilities_have_bins_on_the_diagonal():
    """Of things said with p, a share of p is present; both kinds weigh the same."""
    rng = np.random.default_rng(5)
    said = rng.random(20_000)
    rows = [asked("present" if rng.random() < p else "other", float(p)) for p in said]
    found = reliability(rows)
    np.testing.assert_allclose(found.said, found.true, atol=0.03)
    np.testing.assert_allclose(found.said, [0.1, 0.3, 0.5, 0.7, 0.9], atol=0.02)
    assert found.brier == pytest.approx(1 / 6, abs=0.01)


def test_boastful_probabilities_are_found_out():
    rows = [asked("present", 1.0)] * 10 + [asked("other", 1.0)] * 30
    found = reliability(rows, bins=2)
    assert found.brier == pytest.approx(0.5)  # 30 wrong weigh as much as 10 right
    assert np.nanmax(found.said - found.true) > 0.4


@pytest.mark.parametrize(
    "rows", [[asked("present", None), asked("other", 0.5)], [asked("present", 0.5)], []]
)
def test_without_probabilities_or_one_kind_nothing_is_said(rows):
    assert reliability(rows) is None
