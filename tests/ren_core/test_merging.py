"""Groups of a batch, as a GPU makes them, against those of one image at a time."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ren_core.aggregation import aggregate
from ren_core.merging import first_members, merge


def check_equal(tokens, points, threshold, min_group):
    """Every image of a batch has the groups that the processor finds for it alone."""
    found = merge(tokens, points, threshold, min_group)
    for i, own in enumerate(tokens):
        alone = aggregate(own, points, threshold, min_group)
        count = int(found.counts[i])
        assert count == len(alone.tokens)
        assert found.group_index[i].tolist() == alone.group_index.tolist()
        assert found.representatives[i, :count].tolist() == alone.representatives.tolist()
        torch.testing.assert_close(found.tokens[i, :count], alone.tokens, rtol=1e-5, atol=1e-6)


def grid(count):
    side = math.ceil(count**0.5)
    return torch.tensor([[7 * (i // side), 7 * (i % side)] for i in range(count)])


def directions(*angles):
    """Unit vectors (N, 2) at angles in degrees, of different lengths."""
    turn = torch.deg2rad(torch.tensor(angles, dtype=torch.float64))
    lengths = torch.linspace(0.5, 2, len(angles), dtype=torch.float64)[:, None]
    return (torch.stack([turn.cos(), turn.sin()], dim=1) * lengths).float()


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 50), st.integers(1, 3), st.floats(-0.9, 0.99), st.integers(1, 5), st.integers(0)
)
def test_groups_are_those_of_the_processor(count, images, threshold, min_group, seed):
    generator = torch.Generator().manual_seed(seed % 2**32)
    tokens = torch.randn((images, count, 3), generator=generator)
    points = torch.randint(0, 100, (count, 2), generator=generator)
    check_equal(tokens, points, threshold, min_group)


@pytest.mark.parametrize("count", [2, 3, 16, 17, 33, 64, 65, 120])
def test_a_chain_is_one_group_however_long(count):
    """Each token is near its neighbours only, in an order that is not theirs."""
    order = torch.randperm(count, generator=torch.Generator().manual_seed(count))
    chain = directions(*range(count))[order]
    near = math.cos(math.radians(1.2))
    check_equal(chain[None], grid(count), near, 1)
    assert first_members(chain[None], near).unique().tolist() == [0]
    cut = chain[order != count // 2]  # without one link there are two
    assert len(first_members(cut[None], near).unique()) == (2 if count > 2 else 1)


def test_a_similarity_of_just_the_threshold_links():
    tokens = torch.tensor([[3.0, 4.0], [4.0, 3.0], [-4.0, 3.0], [0.0, -2.0]])
    unit = torch.nn.functional.normalize(tokens, dim=-1)
    tie = float((unit[0] @ unit[1]).item())
    assert first_members(tokens[None], tie).tolist() == [[0, 0, 2, 3]]
    check_equal(tokens[None], grid(4), tie, 1)
    above = math.nextafter(tie, 2) + 1e-6
    assert first_members(tokens[None], above).tolist() == [[0, 1, 2, 3]]


@pytest.mark.parametrize("min_group", [1, 2, 3])
def test_extremes_in_one_batch(min_group):
    """All alike, all apart, groups of different sizes, and two that are equally large."""
    apart = torch.eye(6)
    images = torch.stack(
        [apart[[0] * 6], apart, apart[[2, 1, 2, 0, 1, 2]], apart[[4, 4, 3, 3, 1, 0]]]
    )
    check_equal(images, grid(6), 0.9, min_group)
    found = merge(images, grid(6), 0.9, min_group)
    groups = {1: [1, 6, 3, 4], 2: [1, 6, 2, 2], 3: [1, 6, 1, 2]}  # the last: the largest are kept
    assert found.counts.tolist() == groups[min_group]


def test_the_first_of_equally_central_prompts_stands_for_its_group():
    points = torch.tensor([[0, 0], [0, 9], [9, 0], [9, 9]])
    check_equal(torch.ones(1, 4, 2), points, 0.9, 1)
    assert merge(torch.ones(1, 4, 2), points, 0.9, 1).representatives[0, 0] == 0


def test_a_token_that_is_no_number_is_a_group_of_its_own():
    tokens = torch.tensor([[[1.0, 0], [torch.nan, 0], [1, 0]]])
    assert first_members(tokens, 0.9).tolist() == [[0, 1, 0]]


def test_half_precision_tokens_are_summed_in_single_precision():
    tokens = torch.full((1, 200, 2), 500.0, dtype=torch.float16)
    found = merge(tokens, grid(200), 0.9, 1)
    assert found.tokens.dtype == torch.float16
    assert found.tokens[0, 0].tolist() == [500, 500]
