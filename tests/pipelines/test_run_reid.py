"""The re-identification command runs on a little real data."""

import json

import numpy as np
import pytest

from eval.reid.sources import patch_source
from eval.reid.tokens import Comparison
from pipelines import run_reid
from pipelines.shared import reid
from ren_core.errors import ConfigError, DataError
from tests.pipelines.heads import write_head


@pytest.mark.data
def test_one_run_measures_every_row_and_the_next_one_encodes_nothing(
    shared, tmp_path, small_encoder, capsys
):
    out = tmp_path / "reid.json"
    command = [*small_encoder, "--data", str(shared / "data"), "--frames", "1"]
    command += ["--gallery-step", "10", "--features", str(tmp_path / "features")]
    heads = [write_head(tmp_path / f"{name}.safetensors") for name in "ab"]
    assert run_reid.main([*command, "--head", *heads, "--out", str(out)]) == 0
    result = json.loads(out.read_text())
    lines = {(line["kind"], line["query"]): line for line in result["figures"]}
    kinds = ["patch", "superpixel", "untrained", "start", "ren:a", "aligned:a", "joined:b"]
    assert {(kind, query) for kind in kinds for query in ("pooled", "centre")} < set(lines)
    assert ("patch", "mask") in lines
    assert len(lines) == 2 * 10 + 1
    wanted = {"frame_ap", "synvq_dev/hits", "realvq_dev/margin"}
    assert all(wanted <= set(line) for line in lines.values())
    assert len(result["rows"]["davis_dev"]) == 3 * len(lines)
    assert result["figures"][0]["auc"] is None  # one video: nothing to tell it from
    assert result["spec"]["input_size"] == 28
    assert result["encoded_now"] > 0
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 1 + len(lines) + 1
    assert len({len(line) for line in printed[1:-1]}) == 1  # aligned columns

    few = ["--rows", "ren", "patch", "--query", "centre", "--sets", "synvq_dev"]
    assert run_reid.main([*command, "--head", heads[0], *few, "--out", str(out)]) == 0
    again = json.loads(out.read_text())
    assert again["encoded_now"] == 0
    assert [line["kind"] for line in again["figures"]] == ["patch", "ren:a"]
    assert set(again["rows"]) == {"synvq_dev"}
    key = ("ren:a", "centre")
    assert again["figures"][1]["synvq_dev/margin"] == lines[key]["synvq_dev/margin"]


def test_rows_that_cannot_be_are_usage_errors(small_encoder, tmp_path, capsys):
    command = [*small_encoder, "--data", str(tmp_path)]
    assert run_reid.main([*command, "--rows", "ren"]) == 2
    assert run_reid.main([*command, "--rows", "raw"]) == 2
    (tmp_path / "x").mkdir()
    heads = [write_head(tmp_path / name) for name in ("h.safetensors", "x/h.safetensors")]
    assert run_reid.main([*command, "--head", *heads]) == 2
    wide = write_head(tmp_path / "wide.safetensors", dim=32)
    assert run_reid.main([*command, "--head", wide]) == 1
    lines = capsys.readouterr().err.splitlines()
    for line, wanted in zip(
        lines, ("--head", "does not whiten", "share a name", "32"), strict=True
    ):
        assert wanted in line


def test_mask_alone_leaves_out_the_other_queries_of_patches():
    source = patch_source("patch")
    assert run_reid.comparisons_of([source], ("mask",), ("pooled",)) == [
        Comparison("patch", "mask")
    ]
    both = run_reid.comparisons_of([source], ("patch", "mask"), ("centre",))
    assert both == [Comparison("patch", "centre"), Comparison("patch", "mask")]


def test_means_leave_out_what_is_undefined():
    rows = [{"kind": "a", "query": "centre", "hits": h, "margin": float("nan")} for h in (0.0, 1.0)]
    rows[0]["margin"] = 0.25
    (line,) = run_reid.summary({"synvq_dev": rows})
    assert (line["synvq_dev/hits"], line["synvq_dev/margin"]) == (0.5, 0.25)
    assert np.isnan(run_reid.mean(rows[1:], "margin"))
    assert reid.table([]) == "nothing was compared"


def test_missing_data_and_wrong_size_are_sentences(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(reid, "build_encoder", lambda *_, **__: _fail(DataError("no data")))
    assert run_reid.main(["--data", str(tmp_path)]) == 1
    monkeypatch.setattr(reid, "build_encoder", lambda *_, **__: _fail(ConfigError("size")))
    assert run_reid.main(["--data", str(tmp_path)]) == 2
    assert capsys.readouterr().err == "no data\nsize\n"


def _fail(error):
    raise error
