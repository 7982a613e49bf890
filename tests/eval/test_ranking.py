"""Metrics of ranked lists against scikit-learn, and under ties."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from eval.ranking import average_precision, precision_at, r_precision, roc_auc


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([-1.0, -0.25, 0.0, 1e-9, 0.25, 0.3, 1.0]), st.booleans()),
        min_size=1,
        max_size=40,
    )
)
def test_average_precision_is_sklearns_with_ties_and_negative_scores(items):
    # scikit-learn's is the definition that the published protocol calls
    scores = np.array([s for s, _ in items])
    truth = np.array([t for _, t in items])
    if not truth.any():
        assert np.isnan(average_precision(scores, truth))
    else:
        expected = average_precision_score(truth, scores)
        assert average_precision(scores, truth) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("share", [0.001, 0.5, 1.0])
def test_average_precision_of_many_random_scores_is_sklearns(share):
    generator = np.random.default_rng(1)
    scores = generator.normal(size=5000).astype(np.float32).astype(np.float64)
    truth = generator.random(5000) < share
    truth[7] = True
    expected = average_precision_score(truth, scores)
    assert average_precision(scores, truth) == pytest.approx(expected, abs=1e-12)


def test_precision_is_always_divided_by_k():
    scores, truth = np.array([0.3, -0.2, 0.9, -0.5]), np.array([True, True, False, True])
    assert [precision_at(scores, truth, k) for k in (1, 2, 3, 50)] == [0, 1 / 2, 2 / 3, 3 / 50]
    assert np.isnan(precision_at(scores, np.zeros(4, bool), 2))


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([-0.5, 0.0, 0.3]), st.booleans()), min_size=1, max_size=6),
    st.integers(1, 8),
)
def test_precision_under_ties_is_the_mean_over_all_orders(items, k):
    """Every order of the items, sorted stably by score, is one way that ties can fall."""
    scores = np.array([s for s, _ in items])
    truth = np.array([t for _, t in items])
    if not truth.any():
        assert np.isnan([precision_at(scores, truth, k), r_precision(scores, truth)]).all()
        return
    orders = [sorted(order, key=lambda i: -scores[i]) for order in permutations(range(len(items)))]
    for found, first in ((precision_at(scores, truth, k), k), (r_precision(scores, truth), None)):
        first = first or int(truth.sum())
        expected = np.mean([truth[order[:first]].sum() / first for order in orders])
        assert found == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_ranking_agrees_with_scikit_learn(seed):
    """Scikit-learn's definitions take ties together, as ours do."""
    generator = np.random.default_rng(seed)
    scores = generator.integers(-4, 5, 40) / 4.0  # many ties, negative too
    relevant = generator.random(40) < 0.3
    assert average_precision(scores, relevant) == pytest.approx(
        average_precision_score(relevant, scores)
    )
    assert roc_auc(scores, relevant) == pytest.approx(roc_auc_score(relevant, scores))


def test_undefined_figures_are_nan():
    none, every = np.zeros(3, bool), np.ones(3, bool)
    scores = np.arange(3.0)
    assert np.isnan(average_precision(scores, none))
    assert np.isnan(r_precision(scores, none))
    assert np.isnan(roc_auc(scores, every))
    assert average_precision(scores, every) == r_precision(scores, every) == 1
