"""Prompts in at most so many regions by k-means of their tokens."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ren_core.aggregation import cluster
from ren_core.clustering import kmeans_groups
from ren_core.errors import ConfigError, ShapeError


def grid(side, step=7):
    axis = torch.arange(side) * step + step // 2
    return torch.stack(torch.meshgrid(axis, axis, indexing="ij"), dim=-1).reshape(-1, 2)


def halves(side, noise=0.05):
    """Left and right half of a picture look different; the length of a token says nothing."""
    generator = torch.Generator().manual_seed(0)
    right = (grid(side)[:, 1] > grid(side)[:, 1].float().mean()).long()
    tokens = torch.eye(8)[right] + noise * torch.randn((side**2, 8), generator=generator)
    return tokens * torch.rand((side**2, 1), generator=generator).add(0.2), right


def test_two_regions_are_what_looks_alike_although_they_start_as_squares():
    tokens, right = halves(6)
    groups = cluster(tokens, grid(6), 2)
    assert groups.group_index.tolist() == right.tolist()
    assert groups.counts.tolist() == [18, 18]
    torch.testing.assert_close(groups.tokens[1], tokens[right == 1].mean(dim=0))
    assert not groups.relaxed
    above = grid(6).flip(1)  # the same tokens, turned: starting cells are rows of the other half
    assert cluster(tokens, above, 2).group_index.tolist() == right.tolist()


def test_a_region_may_lie_in_several_places():
    tokens = torch.eye(3)[torch.tensor([0, 1, 0, 1, 1, 1, 0, 2, 0])]
    groups = cluster(tokens, grid(3), 9)
    assert groups.group_index.tolist() == [0, 1, 0, 1, 1, 1, 0, 2, 0]
    assert groups.representatives.tolist() == [0, 4, 7]


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 60), st.integers(1, 40), st.integers(0, 1000))
def test_every_prompt_has_a_group_and_none_is_nearer(count, regions, seed):
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randn((count, 5), generator=generator)
    points = torch.randint(0, 224, (count, 2), generator=generator)
    groups = cluster(tokens, points, regions)
    assert 1 <= len(groups.tokens) <= min(regions, count)
    assert int(groups.counts.sum()) == count
    assert groups.group_index.unique().tolist() == list(range(len(groups.counts)))
    first = [int((groups.group_index == g).nonzero()[0]) for g in range(len(groups.counts))]
    assert first == sorted(first)
    again = cluster(tokens, points, regions)
    assert again.group_index.tolist() == groups.group_index.tolist()


def test_more_regions_are_never_further_from_their_tokens():
    tokens = torch.randn((256, 16), generator=torch.Generator().manual_seed(1))
    unit = torch.nn.functional.normalize(tokens, dim=1)
    spread = []
    for regions in (1, 4, 16, 64, 256):
        groups = cluster(unit, grid(16), regions)
        assert 0.8 * regions <= len(groups.tokens) <= regions
        spread.append(float((unit - groups.tokens[groups.group_index]).square().sum()))
    assert spread == sorted(spread, reverse=True)
    assert spread[-1] < 1e-6


def test_cells_of_the_start_are_nearly_square_and_at_most_as_many():
    alike = torch.zeros((144, 2))  # no token is nearer to any mean: the first one takes all
    assert kmeans_groups(alike, grid(12), 80).unique().tolist() == [0]
    apart = torch.eye(144)
    assert len(cluster(apart, grid(12), 144).tokens) == 144
    assert len(cluster(apart, grid(12), 143).tokens) <= 143


def test_nothing_and_nonsense():
    assert len(cluster(torch.zeros((0, 4)), torch.zeros((0, 2)), 3).tokens) == 0
    with pytest.raises(ConfigError, match="at least 1 region"):
        cluster(torch.zeros((2, 4)), torch.zeros((2, 2)), 0)
    with pytest.raises(ShapeError, match="points_yx"):
        cluster(torch.zeros((2, 4)), torch.zeros((3, 2)), 1)
