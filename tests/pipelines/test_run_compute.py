from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
import torch

from eval.compute import HeadCase, aggregation_cost, head_cost, paired_times, peak_extra_mib
from pipelines import run_compute
from tests.tiny import TinyEncoder

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


def test_the_comparison_writes_a_table_a_file_and_a_plot(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(run_compute, "build_encoder", lambda name, **_: TinyEncoder())
    out = tmp_path / "compare.json"
    command = ["--compare", "ren", "--sides", "4", "2", "--repeats", "1", "--prompts-at-once", "0"]
    command += ["--picture-size", "30", "40", "--threads", "1", "--out", str(out)]
    assert run_compute.main([*command, "--filters", "none", "--memory-limit", "4"]) == 0
    table = capsys.readouterr().out
    assert "| REN, SLIC + aggregation | " in table
    assert table.count("image encoder alone") == 1
    report = json.loads(out.read_text())
    assert [p["per_side"] for p in report["points"][:3]] == [0, 2, 4]
    assert report["config"] == {"type": "CompareConfig", "at_once": 0, "filtered": False}
    assert report["limits"]["memory_mib"] == 4096
    assert report["methods"][1]["note"].startswith("merged tokens")
    assert out.with_suffix(".png").stat().st_size > 1000


def test_a_time_limit_marks_points(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(run_compute, "build_encoder", lambda name, **_: TinyEncoder())
    picture = tmp_path / "p.png"
    cv2.imwrite(str(picture), np.zeros((20, 20, 3), np.uint8))
    command = ["--compare", "ren", "--sides", "2", "3", "--repeats", "1", "--picture", str(picture)]
    assert run_compute.main([*command, "--seconds-limit", "1e-9"]) == 0
    assert capsys.readouterr().out.count("| skipped | time limit: 0 s") == 4
    assert run_compute.main([*command, "--picture", str(tmp_path / "none.png")]) == 1
    assert run_compute.main([*command, "--prompts-at-once", "-2"]) == 2
