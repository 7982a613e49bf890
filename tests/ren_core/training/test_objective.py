"""Losses of a batch, their weights, and how often views match."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from ren_core.training.config import LossConfig
from ren_core.training.losses import info_nce
from ren_core.training.objective import combine, matching_accuracy
from ren_core.training.samples import RegionBatch
from tests.training_cases import new_objective
from tests.training_processes import STEADY, RandomBatches


def _batch(ids):
    V, N = ids.shape
    generator = torch.Generator().manual_seed(3)
    return RegionBatch(
        torch.zeros(V, 4, 2, 2),
        torch.zeros(V, N, 2, dtype=torch.long),
        ids,
        torch.randn(V, N, 4, generator=generator),
        torch.rand(V, N, 4, generator=generator),
        8,
    )


def test_scope_image_is_the_mean_over_pairs_and_weights_add_up():
    generator = torch.Generator().manual_seed(4)
    tokens = torch.randn(4, 6, 4, generator=generator)
    ids = torch.randint(0, 2, (4, 6), generator=generator)
    batch = _batch(ids)
    logits = torch.randn(4, 2, 6, 4, generator=generator)
    config = LossConfig(
        contrast=0.5, feature=2, relation=3, attention=4, scope="image", temperature=0.2
    )
    losses = combine(batch, tokens, tokens, logits, config)
    pairs = [
        info_nce(tokens[i : i + 2].flatten(0, 1), ids[i : i + 2].flatten(), 0.2) for i in (0, 2)
    ]
    assert float(losses["contrast"]) == pytest.approx(float(sum(pairs)) / 2)
    expected = (
        0.5 * losses["contrast"]
        + 2 * losses["feature"]
        + 3 * losses["relation"]
        + 4 * losses["attention"]
    )
    assert float(losses["total"]) == pytest.approx(float(expected))
    whole = combine(batch, tokens, tokens, None, LossConfig(feature=0))
    assert set(whole) == {"contrast", "total"}
    assert float(whole["contrast"]) == pytest.approx(
        float(info_nce(tokens.flatten(0, 1), ids.flatten()))
    )


def test_relation_compares_the_two_views_of_each_pair():
    generator = torch.Generator().manual_seed(6)
    tokens = torch.randn(4, 5, 4, generator=generator)
    batch = _batch(torch.randint(-1, 3, (4, 5), generator=generator))
    differences = [
        abs(
            F.cosine_similarity(tokens[v, i], tokens[w, j], dim=0)
            - F.cosine_similarity(batch.targets[v, i], batch.targets[w, j], dim=0)
        )
        for v in (0, 2)
        for w in (1, 3)
        for i in range(5)
        for j in range(5)
        if batch.valid[v, i] and batch.valid[w, j]
    ]
    loss = combine(batch, tokens, tokens, None, LossConfig(contrast=0, feature=0, relation=1))
    assert float(loss["relation"]) == pytest.approx(float(sum(differences)) / len(differences))


def test_losses_are_the_same_under_autocast():
    generator = torch.Generator().manual_seed(7)
    tokens, aligned = torch.randn(2, 4, 12, 4, generator=generator)
    batch = _batch(torch.randint(-1, 3, (4, 12), generator=generator))
    logits = torch.randn(4, 2, 12, 4, generator=generator)
    config = LossConfig(relation=1, attention=1)
    expected = combine(batch, tokens, aligned, logits, config)
    with torch.autocast("cpu", torch.bfloat16):
        losses = combine(batch, tokens, aligned, logits, config)
    assert set(losses) == {"contrast", "feature", "relation", "attention", "total"}
    for name, loss in losses.items():
        assert loss.dtype == torch.float32
        assert torch.equal(loss, expected[name]), name


def test_losses_lift_half_precision_and_keep_double():
    batch = _batch(torch.tensor([[0, 0, 1], [1, 0, 1]]))
    config = LossConfig(relation=1, attention=1)
    for given, made in ((torch.bfloat16, torch.float32), (torch.float64, torch.float64)):
        tokens, logits = torch.ones(2, 3, 4, dtype=given), torch.zeros(2, 2, 3, 4, dtype=given)
        losses = combine(batch, tokens, tokens, logits, config)
        assert {loss.dtype for loss in losses.values()} == {made}


def test_kept_nulls_are_one_region_per_view():
    tokens = torch.randn(2, 4, 4, generator=torch.Generator().manual_seed(5))
    ids = torch.tensor([[0, 0, -1, -1], [0, 1, -1, -1]])
    kept = combine(_batch(ids), tokens, tokens, None, LossConfig(feature=0, keep_null=True))
    named = torch.tensor([0, 0, 7, 7, 0, 1, 8, 8])
    assert float(kept["contrast"]) == pytest.approx(float(info_nce(tokens.flatten(0, 1), named)))


def test_matching_accuracy_looks_at_other_views_only():
    tokens = torch.tensor([[[1.0, 0], [0.9, 0.1]], [[0, 1.0], [1.0, 0.05]]])
    ids = torch.tensor([[0, 0], [1, 0]])
    # both tokens of view 0 meet token 1 of view 1; that one meets view 0; token 0 has no partner
    assert float(matching_accuracy(tokens, ids)) == 1.0
    swapped = torch.tensor([[0, 0], [0, 1]])
    assert float(matching_accuracy(tokens, swapped)) == pytest.approx(1 / 3)


def test_matching_tells_cosines_apart_under_autocast():
    tokens = torch.tensor([[[1.0, 0], [1.0, 0]], [[1.0, 0.02], [1.0, 0.01]]])
    ids = torch.tensor([[0, 0], [1, 0]])  # bfloat16 knows nothing between 0.996 and 1
    with torch.autocast("cpu", torch.bfloat16):
        assert float(matching_accuracy(tokens, ids)) == 1.0


def test_matching_accuracy_of_nothing_is_nan():
    assert torch.isnan(matching_accuracy(torch.randn(2, 3, 4), torch.full((2, 3), -1)))


@pytest.mark.parametrize("queries", ["points", "learned"])
@pytest.mark.parametrize(
    "weights",
    [
        {},
        {"feature": 0},
        {"contrast": 0},
        {"contrast": 0, "feature": 0, "relation": 1},
        {"contrast": 0, "feature": 0, "attention": 1},
        {"feature": 0, "attention": 1},
    ],
)
def test_exactly_what_the_losses_reach_asks_for_gradients(queries, weights):
    config = replace(STEADY, queries=queries, loss=LossConfig(**weights))
    objective = new_objective(config)
    asking = {name for name, p in objective.named_parameters() if p.requires_grad}
    objective.requires_grad_(True)
    objective(RandomBatches().batch(0))["total"].backward()
    assert asking == {name for name, p in objective.named_parameters() if p.grad is not None}
