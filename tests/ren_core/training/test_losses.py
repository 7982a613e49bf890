"""Losses against hand-computed cases and finite differences."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch.autograd import gradcheck

from ren_core.errors import ConfigError, ShapeError
from ren_core.training.losses import (
    attention_supervision,
    feature_similarity,
    info_nce,
    relation_similarity,
)


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
