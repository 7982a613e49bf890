"""The ablation command, with figures of other tasks beside its own."""

from __future__ import annotations

import json

import pytest

from pipelines import run_ablations, run_retrieval
from ren_core.model import REN
from tests.coco_files import write_coco
from tests.segmentation_sets import write_camvid
from tests.tiny import tiny_ren

FEW = ["--epochs", "4", "--batch", "3", "--seeds", "0", "1"]


@pytest.fixture(autouse=True)
def _tiny_model(monkeypatch):
    monkeypatch.setattr(run_ablations, "load_model", lambda args: tiny_ren())


def results(folder):
    return json.loads((folder / "ablations.json").read_text())


def test_retrieval_stands_beside_segmentation(tmp_path, capsys, monkeypatch):
    """The file is the one that the retrieval command writes."""
    write_coco(tmp_path / "coco", "train2017", {i: (1 + i % 3,) for i in range(1, 7)})
    write_coco(tmp_path / "coco", "val2017", {i: (1 + i % 3, 1 + (i + 1) % 3) for i in (21, 22)})
    monkeypatch.setattr(
        REN, "from_pretrained", lambda name, device, **settings: tiny_ren(**settings)
    )
    retrieval = ["--data", str(tmp_path / "coco"), "--min-area", "50", "--per-class", "1"]
    retrieval += ["--top-k", "2", "--points", "8", "--pictures", "0", "--grid-size", "8"]
    files = []
    for prompting, merging in (("grid", "--no-aggregate"), ("slic", "--aggregate")):
        run = tmp_path / f"{prompting}{merging}"
        options = ["--prompting", prompting, merging, "--out", str(run)]
        assert run_retrieval.main([*retrieval, *options]) == 0
        files.append(str(run / "retrieval.json"))

    command = ["--dataset", "camvid", "--data", str(write_camvid(tmp_path / "set")), *FEW]
    command += ["--thresholds", "0.9", "--grid-size", "8", "--out", str(tmp_path / "out")]
    columns = ["--column", "mRP@2", *files, "--column", "mAP", files[0]]
    capsys.readouterr()
    assert run_ablations.main([*command, *columns]) == 0
    found = results(tmp_path / "out")["other tasks"]
    assert set(found["mRP@2"]) == {"patches-grid", "ren-grid", "ren-slic-0.975"}
    figures = json.loads((tmp_path / "slic--aggregate/retrieval.json").read_text())["figures"]
    assert found["mRP@2"]["ren-slic-0.975"] == figures["ren"]["precision"]
    lines = capsys.readouterr().out.split("prompting\n")[1].splitlines()
    rows = {line.split()[0]: line.split()[-2:] for line in lines[1:5]}
    assert rows["ren-grid"][1] != "-"
    assert rows["ren-slic"] == ["-", "-"]
    assert rows["ren-slic-0.975"] == [f"{100 * found['mRP@2']['ren-slic-0.975']:.1f}", "-"]

    for column, code, sentence in (
        (["mRP@50", files[0]], 2, "has mAP and mRP, with K 2 of precision, not mRP@50"),
        (["figures", files[0]], 2, "not figures"),
        (["mRP"], 2, "names no file"),
    ):
        assert run_ablations.main([*command, "--column", *column]) == code
        assert sentence in capsys.readouterr().err
    assert run_ablations.main([*command, "--grid-size", "4", "--column", "mRP", files[0]]) == 1
    assert "this table of ('tiny', 'tiny', 56, 4)" in capsys.readouterr().err


def test_ablations_with_a_column_of_another_task(tmp_path, capsys):
    out = tmp_path / "out"
    column = tmp_path / "retrieval.json"
    column.write_text('{"ren-grid": 0.5}')
    command = ["--dataset", "camvid", "--data", str(write_camvid(tmp_path / "set")), *FEW]
    command += ["--thresholds", "0.9", "0.99", "--merge", "0.95", "--grid-size", "8"]
    command += ["--regions", "6", "20"]
    assert run_ablations.main([*command, "--column", "RP@50", str(column), "--out", str(out)]) == 0
    found = results(out)
    thresholds = [r["method"]["merge_similarity"] for r in found["token count"]]
    assert thresholds == [None, None, 0.99, 0.9, None, None]
    assert [r["method"]["regions"] for r in found["token count"][4:]] == [6, 20]
    prompting = [r["method"]["prompting"] for r in found["prompting"]]
    assert prompting == ["grid", "grid", "slic", "slic"]
    assert found["token count"][1]["tokens"] == 64
    assert (out / "token_count.png").is_file()
    assert "RP@50" in capsys.readouterr().out
    column.write_text("[]")
    assert run_ablations.main([*command, "--column", "RP@50", str(column)]) == 1
    assert "does not hold figures" in capsys.readouterr().err
