"""The command on costs: tables, and comparisons that are stopped and taken up again."""

from __future__ import annotations

import dataclasses
import json
import sys
import time

import cv2
import numpy as np
import pytest

from eval.cost.methods import CompareConfig
from eval.cost.sweep import CostPoint, Method
from pipelines import run_compute
from pipelines.shared import job_cost
from tests.clips import FRAMES, RED, clip_json, frame, query_set, write_annotations
from tests.job import tiny_localizer
from tests.synthetic import write_video
from tests.tiny import TinyEncoder
from vq2d.localize import localizer as localizer_module


def test_the_command_prints_and_writes_its_figures(tmp_path, capsys):
    out = tmp_path / "cost.json"
    command = ["--dim", "32", "--patch-grid", "5", "--prompts", "9", "20", "--repeats", "2"]
    assert run_compute.main([*command, "--threads", "1", "--out", str(out)]) == 0
    assert "ratio" in capsys.readouterr().out
    report = json.loads(out.read_text())
    assert [c["case"]["num_prompts"] for c in report["region_encoder"]] == [9, 20]
    assert all(c["seconds"] > 0 < c["bare_seconds"] for c in report["region_encoder"])
    assert [c["num_tokens"] for c in report["aggregation"]] == [9, 20]


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
    assert (report["memory_limit_gib"], report["memory_mib"]) == (4, 4096)
    assert report["mode"] == "all prompts in one batch"
    assert "| prompts (all prompts in one batch) |" in table
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


# --- runs that are stopped, and taken up again ---------------------------------------------------


@pytest.fixture
def made(monkeypatch):
    """Calls of two fake methods that were measured: (method, prompts per side)."""
    made = []

    def build(name, args, picture, config):
        def prepare(side):
            made.append((name, side))
            return lambda: side

        ren = name == "ren"
        return [
            Method(
                name="REN, grid + aggregation" if ren else name,
                parameters=2 if ren else 10,
                prepare=prepare,
                encode_image=lambda: made.append((name, 0)),
                encoder_parameters=3,
                encoder_included=not ren,
                note="",
            )
        ]

    def measured(name, side, call, limits, device):
        call()
        return CostPoint(
            method=name, per_side=side, status="measured", seconds=1.0 + side, peak_mib=2.0
        )

    monkeypatch.setattr(run_compute, "build_methods", build)
    monkeypatch.setattr("eval.cost.sweep.measure", measured)
    return made


COMPARE = ["--compare", "ren", "sam2.1_hiera_t", "--sides", "2", "4", "--picture-size", "8", "8"]


def test_a_stopped_comparison_goes_on_where_it_was(tmp_path, capsys, made, monkeypatch):
    out = tmp_path / "cost.json"
    monkeypatch.setattr(run_compute, "available_mib", lambda share: 100.0)
    build = run_compute.build_methods

    def stops(name, *args):
        (method,) = build(name, *args)
        prepare = method.prepare

        def until_4(side):
            if name != "ren" and side == 4:
                raise KeyboardInterrupt
            return prepare(side)

        return [dataclasses.replace(method, prepare=until_4)]

    monkeypatch.setattr(run_compute, "build_methods", stops)
    with pytest.raises(KeyboardInterrupt):
        run_compute.main([*COMPARE, "--out", str(out)])
    assert len(json.loads(out.read_text())["points"]) == 5
    assert out.with_suffix(".png").stat().st_size > 1000

    monkeypatch.setattr(run_compute, "build_methods", build)
    made.clear()
    capsys.readouterr()
    assert run_compute.main([*COMPARE, "--out", str(out)]) == 0
    assert made == [("sam2.1_hiera_t", 4)]
    printed = capsys.readouterr().out
    assert "has the same settings" in printed
    assert printed.count("| 2x2 | 3.000 | 2 |") == printed.count("| 4x4 | 5.000 | 2 |") == 2
    last = printed.strip().splitlines()[-1]
    assert last.startswith(
        "sam2.1_hiera_t takes 1.0 times the seconds and 5.0 times the parameters"
    )
    assert "at 4x4 prompts; 0.8 and 2.0 times with the patch encoder" in last
    complete = json.loads(out.read_text())
    assert complete["ratios"][0]["seconds_with_encoder"] == pytest.approx(5 / 6)

    made.clear()
    assert run_compute.main(["--compare", "ren", *COMPARE[3:], "--out", str(out)]) == 0
    assert made == []
    assert json.loads(out.read_text()) == complete  # of methods not asked for, too


CHANGES = [
    ["--repeats", "2"],
    ["--seconds-limit", "100"],
    ["--memory-limit", "5"],
    ["--prompts-at-once", "0"],
    ["--filters", "none"],
    ["--picture-size", "8", "9"],
    ["--encoder", "dinov2-vitl14"],
]


def test_other_settings_are_measured_anew(tmp_path, capsys, made):
    command = ["--compare", "ren", *COMPARE[3:], "--out", str(tmp_path / "cost.json")]
    assert run_compute.main(command) == 0
    made.clear()
    assert run_compute.main([*command, *CHANGES[0]]) == 0
    assert made == [("ren", 0), ("ren", 2), ("ren", 4)]
    assert "has other settings" in capsys.readouterr().out


def test_every_option_that_changes_the_figures_is_a_setting():
    def settings(*change):
        args = run_compute.build_parser().parse_args([*COMPARE, *change])
        config = CompareConfig(at_once=args.prompts_at_once, filtered=args.filters == "own")
        return run_compute.settings_of(args, np.zeros((*args.picture_size, 3), np.uint8), config)

    assert settings() == settings()
    assert all(settings(*change) != settings() for change in CHANGES)


def test_a_method_that_is_not_installed_does_not_stop_the_others(
    tmp_path, capsys, made, monkeypatch
):
    monkeypatch.setitem(sys.modules, "segment_anything", None)
    out = tmp_path / "cost.json"
    command = ["--compare", "sam_vit_h", "ren", *COMPARE[3:], "--out", str(out)]
    assert run_compute.main(command) == 0
    assert "left out: sam_vit_h; SAM is not installed" in capsys.readouterr().out
    report = json.loads(out.read_text())
    assert list(report["left_out"]) == ["sam_vit_h"]
    assert len(report["points"]) == 3
    assert run_compute.main(["--compare", "sam_vit_h"]) == 2
    assert "pip install segment-anything" in capsys.readouterr().err


def test_operations_are_counted_when_asked_for(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(run_compute, "build_encoder", lambda name, **_: TinyEncoder())
    out = tmp_path / "cost.json"
    command = ["--compare", "ren", "--sides", "2", "--repeats", "1", "--picture-size", "8", "8"]
    assert run_compute.main([*command, "--flops", "--out", str(out)]) == 0
    assert "| REN, grid | 32x32 | 0.0 | 0.0 | 0.0 |" in capsys.readouterr().out
    counts = json.loads(out.read_text())["flops"]
    assert [c["method"] for c in counts] == ["REN, grid", "REN, grid + aggregation"]
    assert 0 < counts[0]["prompts_gflop"] < counts[1]["prompts_gflop"]


@pytest.fixture
def clips(tmp_path):
    """A folder with one clip and one query."""
    write_annotations(tmp_path, [clip_json("one", {"1": query_set(RED, 4, 28, (15, 21))})])
    (tmp_path / "v2/clips").mkdir()
    write_video(tmp_path / "v2/clips/one.mp4", [frame(i) for i in range(FRAMES)])
    return tmp_path


def test_the_job_is_measured_stage_by_stage(clips, capsys, monkeypatch):
    localizer = tiny_localizer()
    monkeypatch.setattr(run_compute, "chosen_localizer", lambda args: ("tiny", localizer))
    search = localizer_module.score_frames
    out = clips / "job.json"
    assert run_compute.main(["--job", str(clips), "--out", str(out)]) == 0
    assert localizer_module.score_frames is search
    kept = json.loads(out.read_text())
    assert (kept["frames"], kept["queries"]) == (28, 1)
    stages = kept["stages"]
    assert list(stages) == [
        *("tokens", "question", "search", "refine", "track", "expand", "other", "drawing")
    ]
    for name in ("tokens", "question", "search", "refine", "track", "drawing"):
        assert stages[name]["wall_s"] > 0
    networks = {name for name, cost in stages.items() if cost["bare_s"] > 0}
    assert networks == {"tokens", "question", "refine"}  # the colour tracker needs none
    assert kept["token_bytes"] > 28 * 64 * 16
    shown = capsys.readouterr().out
    for figure in ("per hour of video", "per question", "per drawing", "GiB at most"):
        assert figure in shown


def test_time_inside_a_stage_is_not_counted_twice():
    recorder = job_cost._Recorder()
    network = recorder.watched("network", lambda x: time.sleep(0.01) or x)
    with recorder.timed("other"):
        time.sleep(0.05)
        for _ in range(2):
            with recorder.timed("track"):
                time.sleep(0.1)
                network(np.zeros((2, 3)))
    network(np.zeros((2, 3)))  # outside of the job
    assert recorder.costs["track"].wall_s == pytest.approx(0.22, abs=0.05)
    assert recorder.costs["other"].wall_s == pytest.approx(0.05, abs=0.03)
    assert dict(recorder.calls) == {("track", "network", ((2, 3),)): 2}
