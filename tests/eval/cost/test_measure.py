"""Times in pairs, peaks of memory, and costs of small cases."""

import pytest
import torch

from eval.cost import methods
from eval.cost.measure import (
    HeadCase,
    aggregation_cost,
    grouped_tokens,
    head_cost,
    paired_times,
    peak_extra_mib,
)
from ren_core.aggregation import aggregate
from tests.eval.cost.fakes import CPU


def test_merged_tokens_form_as_many_regions_as_the_paper_keeps():
    tokens = grouped_tokens(1369, 64, methods.IMAGE_REGIONS)
    groups = aggregate(tokens, torch.zeros(1369, 2, dtype=torch.int64), 0.975)
    assert len(groups.tokens) == 72
    assert int(groups.counts.min()) == 19


def test_times_are_paired():
    slow, fast = (lambda: torch.randn(400, 400) @ torch.randn(400, 400)), (lambda: None)
    a, b, ratio = paired_times(slow, fast, CPU, 3)
    assert a > b
    assert ratio > 1


def test_peak_memory_counts_what_is_freed_again():
    def call():
        block = torch.ones(64, 1024, 1024, dtype=torch.uint8)
        for _ in range(20):
            block.add_(1)

    assert 50 <= peak_extra_mib(call, CPU) <= 90


def test_costs_of_small_cases():
    cost = head_cost(HeadCase(dim=16, patch_grid=3, num_prompts=7, image_size=9), CPU, repeats=1)
    assert cost.ratio == pytest.approx(cost.seconds / cost.bare_seconds)
    assert aggregation_cost(30, 16, CPU, repeats=1).seconds > 0
