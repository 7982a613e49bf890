from __future__ import annotations

import json

import pytest
import torch

from eval.compute import HeadCase, aggregation_cost, head_cost, paired_times, peak_extra_mib
from pipelines import run_compute

CPU = torch.device("cpu")


def test_the_command_prints_and_writes_its_figures(tmp_path, capsys):
    out = tmp_path / "cost.json"
    code = run_compute.main(
        [
            "--dim",
            "32",
            "--patch-grid",
            "5",
            "--prompts",
            "9",
            "20",
            "--repeats",
            "2",
            "--threads",
            "1",
            "--out",
            str(out),
        ]
    )
    assert code == 0
    assert "ratio" in capsys.readouterr().out
    report = json.loads(out.read_text())
    assert [c["case"]["num_prompts"] for c in report["region_encoder"]] == [9, 20]
    assert all(c["seconds"] > 0 < c["bare_seconds"] for c in report["region_encoder"])
    assert [c["num_tokens"] for c in report["aggregation"]] == [9, 20]


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
