"""Losses against hand-computed cases and finite differences."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch.autograd import gradcheck

from ren_core.errors import ConfigError, ShapeError
from ren_core.schedule import learning_rate_factor
from ren_core.training.config import LossConfig
from ren_core.training.losses import (
    attention_supervision,
    feature_similarity,
    info_nce,
    relation_similarity,
)
from ren_core.training.objective import combine, matching_accuracy
from ren_core.training.samples import RegionBatch


def _reference_info_nce(tokens, ids, temperature):
    """The paper's equation as loops."""
    unit = F.normalize(tokens, dim=-1)
    per_token = []
    for i in range(len(ids)):
        others = [j for j in range(len(ids)) if j != i]
        positives = [j for j in others if ids[j] == ids[i]]
        if positives:
            total = sum(math.exp(float(unit[i] @ unit[j]) / temperature) for j in others)
            shares = [math.exp(float(unit[i] @ unit[j]) / temperature) / total for j in positives]
            per_token.append(-sum(math.log(s) for s in shares) / len(shares))
    return sum(per_token) / len(per_token)


def test_info_nce_by_hand():
    # two tokens of one region at right angles to one of another: 1 / (1 + e^-10) each
    tokens = torch.tensor([[1.0, 0], [3, 0], [0, 2]])
    loss = info_nce(tokens, torch.tensor([5, 5, 9]), 0.1)
    assert float(loss) == pytest.approx(math.log1p(math.exp(-10)), rel=1e-3)


@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_info_nce_equals_the_loops(temperature):
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randn(14, 6, generator=generator)
    ids = torch.randint(0, 5, (14,), generator=generator)
    expected = _reference_info_nce(tokens, ids.tolist(), temperature)
    assert float(info_nce(tokens, ids, temperature)) == pytest.approx(expected, rel=1e-5)


def test_null_prompts_are_left_out_or_kept():
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randn(8, 4, generator=generator)
    ids = torch.tensor([0, 0, 1, 1, -1, -1, -2, -2])
    without = info_nce(tokens[:4], ids[:4])
    assert torch.equal(info_nce(tokens, ids), without)
    kept = info_nce(tokens, ids, keep_null=True)
    assert float(kept) == pytest.approx(_reference_info_nce(tokens, ids.tolist(), 0.1), rel=1e-5)


def test_info_nce_without_positives_is_zero_with_zero_gradient():
    tokens = torch.randn(3, 4, requires_grad=True)
    loss = info_nce(tokens, torch.tensor([0, 1, 2]))
    loss.backward()
    assert float(loss.detach()) == 0
    assert torch.equal(tokens.grad, torch.zeros(3, 4))
    assert float(info_nce(torch.zeros(0, 4), torch.zeros(0, dtype=torch.long))) == 0


def _double(*shape, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize("keep_null", [False, True])
def test_info_nce_gradient_by_finite_differences(keep_null):
    ids = torch.tensor([0, 0, 0, 1, 1, 2, -1, -1])
    tokens = _double(8, 3, seed=2)
    assert gradcheck(lambda t: info_nce(t, ids, 0.5, keep_null=keep_null), tokens)


def test_feature_similarity_gradient_by_finite_differences():
    valid = torch.tensor([[True, True, False], [True, False, True]])
    targets = _double(2, 3, 4, seed=3)
    assert gradcheck(
        lambda a, t: feature_similarity(a, t, valid), (_double(2, 3, 4, seed=4), targets)
    )


def test_relation_gradient_by_finite_differences():
    valid = torch.tensor([[True, True, False], [True, False, True]])
    first, second, *targets = (_double(3, 4, seed=seed) for seed in range(5, 9))
    assert gradcheck(
        lambda a, b: relation_similarity((a, b), tuple(targets), valid), (first, second)
    )


def test_attention_supervision_gradient_by_finite_differences():
    valid = torch.tensor([[True, False, True], [True, True, True]])
    coverage = torch.rand(2, 3, 5, generator=torch.Generator().manual_seed(9))
    logits = _double(2, 2, 3, 5, seed=10)
    assert gradcheck(lambda a: attention_supervision(a, coverage, valid), logits)


def test_info_nce_rejects_what_does_not_fit():
    with pytest.raises(ShapeError, match=r"\(3,\)"):
        info_nce(torch.zeros(4, 2), torch.zeros(3, dtype=torch.long))
    with pytest.raises(ConfigError, match="positive"):
        info_nce(torch.zeros(4, 2), torch.zeros(4, dtype=torch.long), 0.0)


def test_feature_similarity_by_hand():
    aligned = torch.tensor([[1.0, 0], [0, 1], [1, 1]])
    targets = torch.tensor([[2.0, 0], [1, 0], [-1, -1]])  # cosines 1, 0, -1
    assert float(feature_similarity(aligned, targets, torch.tensor([1, 1, 1]))) == pytest.approx(1)
    assert float(feature_similarity(aligned, targets, torch.tensor([1, 1, 0]))) == pytest.approx(
        0.5
    )
    assert float(feature_similarity(aligned, targets, torch.zeros(3))) == 0


def test_relation_similarity_by_hand():
    aligned = (torch.tensor([[1.0, 0], [0, 1]]), torch.tensor([[1.0, 0], [1, 0]]))
    targets = (torch.tensor([[1.0, 0], [0, 1]]), torch.tensor([[0.0, 1], [1, 0]]))
    # differences of cosines: [[1-0, 1-1], [0-1, 0-0]]
    everything = torch.ones(2, 2, dtype=torch.bool)
    assert float(relation_similarity(aligned, targets, everything)) == pytest.approx(0.5)
    first_only = torch.tensor([[True, False], [True, False]])
    assert float(relation_similarity(aligned, targets, first_only)) == pytest.approx(1.0)


def test_attention_supervision_by_hand_and_by_gradient():
    target = torch.tensor([[[1.0, 0, 0, 0]]])
    valid = torch.ones(1, 1, dtype=torch.bool)
    perfect = torch.tensor([[[[20.0, -20, -20, -20]]]])
    assert float(attention_supervision(perfect, target, valid)) == pytest.approx(0, abs=1e-6)
    even = torch.zeros(1, 2, 1, 4)  # sigmoid 0.5: BCE log 2, DICE 1 - (1 + 1) / (2 + 1 + 1)
    loss = attention_supervision(even, target, valid)
    assert float(loss) == pytest.approx(math.log(2) + 0.5)
    assert float(attention_supervision(even, target, ~valid)) == 0

    logits = torch.zeros(1, 2, 1, 4, requires_grad=True)
    attention_supervision(logits, target, valid).backward()
    assert (logits.grad[..., 0] < 0).all()
    assert (logits.grad[..., 1:] > 0).all()


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


def test_loss_config_rejects_nonsense():
    with pytest.raises(ConfigError, match="scope"):
        LossConfig(scope="world")
    with pytest.raises(ConfigError, match="nor all zero"):
        LossConfig(contrast=0, feature=0)


@pytest.mark.parametrize(("warmup", "total"), [(0, 1), (0, 5), (3, 50), (100, 1000)])
def test_learning_rate_ends_at_zero_exactly_once(warmup, total):
    factors = [learning_rate_factor(step, warmup, total) for step in range(total)]
    assert factors[-1] == 0.0
    assert all(f > 0 for f in factors[:-1])
    assert max(factors) <= 1
    rising, falling = factors[: warmup + 1], factors[warmup:]
    assert rising == sorted(rising)
    assert falling == sorted(falling, reverse=True)
    with pytest.raises(ConfigError, match="step"):
        learning_rate_factor(total, warmup, total)
