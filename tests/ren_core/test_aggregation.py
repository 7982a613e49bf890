"""Groups of similar tokens, against their definition and the release."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file

from ren_core import aggregation
from ren_core.aggregation import aggregate, attach_dropped
from ren_core.errors import ConfigError, ShapeError


def union_find(tokens, threshold):
    """Groups by the definition, one pair at a time."""
    unit = tokens / tokens.norm(dim=1, keepdim=True)
    parent = list(range(len(tokens)))

    def root(i):
        while parent[i] != i:
            i = parent[i]
        return i

    for i in range(len(tokens)):
        for j in range(i):
            if float(unit[i] @ unit[j]) >= threshold:
                parent[root(i)] = root(j)
    return [root(i) for i in range(len(tokens))]


@pytest.mark.data
def test_agrees_with_the_release(shared):
    path = shared / "conformance/ren/tiny_a.aggregation.safetensors"
    reference = load_file(path)
    with safe_open(path, "pt") as file:
        facts = file.metadata()
    groups = aggregate(
        reference["tokens"], reference["points_yx"], float(facts["mu"]), int(facts["min_group"])
    )
    aligned = groups.pool(2 * reference["tokens"] + 1)
    assert len(groups.tokens) == len(reference["groups_tokens"])
    for i, wanted in enumerate(reference["groups_tokens"]):
        j = int((groups.tokens - wanted).abs().amax(dim=1).argmin())
        torch.testing.assert_close(groups.tokens[j], wanted, rtol=0, atol=1e-4)
        torch.testing.assert_close(aligned[j], reference["groups_aligned"][i], rtol=0, atol=1e-4)
        assert groups.points_yx[j].tolist() == reference["groups_points_yx"][i].tolist()


def test_hand_made_groups():
    east, north = [1.0, 0.0], [0.0, 1.0]
    tokens = torch.tensor([east, north, east, [2.0, 0.0], [-1.0, 0.0], north])
    points = torch.tensor([[0, 0], [9, 9], [0, 10], [0, 4], [5, 5], [9, 7]])
    groups = aggregate(tokens, points, 0.99, min_group=2)
    assert groups.group_index.tolist() == [0, 1, 0, 0, -1, 1]
    assert groups.counts.tolist() == [3, 2]
    assert groups.tokens.tolist() == [[pytest.approx(4 / 3), 0.0], north]  # raw tokens, unweighted
    assert groups.points_yx.tolist() == [[0, 4], [9, 9]]  # nearest to (0, 4.67); first on a tie
    assert groups.representatives.tolist() == [3, 1]
    assert not groups.relaxed
    assert attach_dropped(tokens, groups).tolist() == [0, 1, 0, 0, 1, 1]


def test_the_largest_groups_stay_when_none_is_large_enough():
    tokens = torch.eye(5)
    tokens[1] = tokens[0]
    groups = aggregate(tokens, torch.zeros((5, 2), dtype=torch.int64), 0.5, min_group=3)
    assert groups.relaxed
    assert groups.group_index.tolist() == [0, 0, -1, -1, -1]
    alone = aggregate(torch.eye(3), torch.zeros((3, 2), dtype=torch.int64), 0.5, min_group=3)
    assert alone.relaxed
    assert alone.group_index.tolist() == [0, 1, 2]


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40), st.floats(-0.9, 0.99), st.integers(1, 4), st.integers(0, 10**6))
def test_equals_the_definition(count, threshold, min_group, seed):
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randn((count, 3), generator=generator)
    points = torch.randint(0, 100, (count, 2), generator=generator)
    groups = aggregate(tokens, points, threshold, min_group)
    roots = union_find(tokens, threshold)
    index = groups.group_index.tolist()
    sizes = {r: roots.count(r) for r in roots}
    floor = min_group if max(sizes.values()) >= min_group else max(sizes.values())
    assert [i >= 0 for i in index] == [sizes[r] >= floor for r in roots]
    pairs = {(r, i) for r, i in zip(roots, index, strict=True) if i >= 0}
    assert (
        len(pairs) == len({r for r, _ in pairs}) == len({i for _, i in pairs}) == len(groups.counts)
    )
    assert int(groups.counts.sum()) == sum(i >= 0 for i in index)
    assert (groups.group_index[groups.representatives] == torch.arange(len(groups.counts))).all()


def test_blocks_of_similarities_do_not_change_the_groups(monkeypatch):
    tokens = torch.randn((57, 4), generator=torch.Generator().manual_seed(3))
    points = torch.arange(114).view(57, 2)
    whole = aggregate(tokens, points, 0.8)
    monkeypatch.setattr(aggregation, "ROWS_AT_ONCE", 10)
    assert aggregate(tokens, points, 0.8).group_index.tolist() == whole.group_index.tolist()


def test_half_precision_tokens_are_summed_in_single_precision():
    tokens = torch.full((1000, 2), 100.0, dtype=torch.float16)
    groups = aggregate(tokens, torch.zeros((1000, 2), dtype=torch.int64), 0.9)
    assert groups.tokens.dtype == torch.float16
    assert np.isfinite(groups.tokens.numpy()).all()


def test_no_tokens_no_groups():
    groups = aggregate(torch.zeros((0, 4)), torch.zeros((0, 2), dtype=torch.int64), 0.9)
    assert len(groups.tokens) == len(groups.group_index) == 0


def test_bad_arguments_are_refused():
    with pytest.raises(ShapeError, match=r"\(3, 2\)"):
        aggregate(torch.eye(2), torch.zeros((3, 2)), 0.9)
    with pytest.raises(ConfigError, match="min_group=0"):
        aggregate(torch.eye(2), torch.zeros((2, 2)), 0.9, 0)
    with pytest.raises(ConfigError, match=r"threshold=1\.5"):
        aggregate(torch.eye(2), torch.zeros((2, 2)), 1.5)
