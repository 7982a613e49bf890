"""The retrieval command on a tiny dataset in COCO's layout."""

import json

import cv2
import numpy as np
import pytest

from pipelines import run_retrieval
from ren_core.model import REN
from tests.coco_files import write_coco
from tests.tiny import tiny_ren


@pytest.fixture
def command(tmp_path, monkeypatch):
    write_coco(tmp_path / "coco", "train2017", {i: (1 + i % 3,) for i in range(1, 10)})
    scenes = {i: ((1 + i % 3), 1 + (i + 1) % 3) for i in range(21, 26)}
    write_coco(tmp_path / "coco", "val2017", scenes)

    def from_pretrained(name, device, **overrides):
        return tiny_ren(**overrides)

    monkeypatch.setattr(REN, "from_pretrained", from_pretrained)
    out = ["--data", str(tmp_path / "coco"), "--out", str(tmp_path / "run"), "--min-area", "50"]
    return [*out, "--per-class", "2", "--top-k", "2", "--points", "16", "--no-aggregate"]


def test_figures_manifest_and_picture(command, tmp_path, capsys):
    assert run_retrieval.main([*command, "--pictures", "2", "--seed", "4"]) == 0
    out = capsys.readouterr().out
    assert "6 queries of 3 classes, 5 database images; ceiling of mRP@2 1.000" in out
    result = json.loads((tmp_path / "run/retrieval.json").read_text())
    assert result["ren"]["aggregate"] is False
    assert result["queries"]["seed"] == 4
    assert set(result["classes"]["ren"]) == {"red", "blue", "green"}
    assert len(result["rows"]["ren"]) == 6
    assert result["figures"]["patches"]["ap"] > result["figures"]["patches"]["share"]
    manifest = json.loads((tmp_path / "run/manifest.json").read_text())
    assert len(manifest["queries"]) == 6
    assert np.ptp(cv2.imread(str(tmp_path / "run/retrieval.jpg"))) > 100


def test_a_manifest_and_faiss_give_the_same_figures(command, tmp_path, capsys):
    pytest.importorskip("faiss")
    assert run_retrieval.main([*command, "--seed", "1"]) == 0
    first = json.loads((tmp_path / "run/retrieval.json").read_text())
    kept = tmp_path / "kept.json"
    (tmp_path / "run/manifest.json").rename(kept)
    options = ["--manifest", str(kept), "--search", "faiss", "--seed", "1", "--batch-size", "2"]
    assert run_retrieval.main([*command, *options, "--pictures", "0"]) == 0
    second = json.loads((tmp_path / "run/retrieval.json").read_text())
    assert second["figures"] == first["figures"]
    again, given = (json.loads(f.read_text()) for f in (tmp_path / "run/manifest.json", kept))
    assert (given.pop("taken_from"), again.pop("taken_from")) == (None, str(kept))
    assert again == given


def test_a_manifest_keeps_the_settings_that_its_queries_were_drawn_with(command, tmp_path, capsys):
    assert run_retrieval.main([*command, "--seed", "7", "--pictures", "0"]) == 0
    first = json.loads((tmp_path / "run/retrieval.json").read_text())
    own = tmp_path / "run/manifest.json"
    drawn = json.loads(own.read_text())
    assert [drawn["config"][n] for n in ("per_class", "points", "seed")] == [2, 16, 7]
    bare = ["--data", command[1], "--top-k", "2", "--no-aggregate", "--pictures", "0"]
    taken = [*bare, "--manifest", str(own)]
    assert run_retrieval.main([*taken, "--out", str(tmp_path / "other")]) == 0
    result = json.loads((tmp_path / "other/retrieval.json").read_text())
    assert result["queries"] == first["queries"]
    assert result["rows"] == first["rows"]
    written = json.loads((tmp_path / "other/manifest.json").read_text())
    assert written == {**drawn, "taken_from": str(own)}
    assert run_retrieval.main([*taken, "--out", str(tmp_path / "run")]) == 0
    assert json.loads(own.read_text()) == drawn  # the given file itself is left alone
    capsys.readouterr()
    assert run_retrieval.main([*taken, "--seed", "8"]) == 2
    assert "has seed 7, got 8" in capsys.readouterr().err
    for broken in ("{", "[]", '{"queries": []}', '{"config": {"colour": 1}, "queries": []}'):
        (tmp_path / "broken.json").write_text(broken)
        assert run_retrieval.main([*bare, "--manifest", str(tmp_path / "broken.json")]) == 1
        assert "is no manifest of this command" in capsys.readouterr().err


def test_other_settings(command, tmp_path, capsys):
    options = ["--limit", "2", "--grid-size", "3", "--prompting", "slic", "--aggregate"]
    assert run_retrieval.main([*command, *options, "--pictures", "0"]) == 0
    assert "2 database images" in capsys.readouterr().out
    result = json.loads((tmp_path / "run/retrieval.json").read_text())
    assert (result["ren"]["prompting"], result["ren"]["grid_size"]) == ("slic", 3)
    assert not (tmp_path / "run/retrieval.jpg").exists()


def test_errors_are_sentences(command, tmp_path, capsys):
    assert run_retrieval.main(["--data", str(tmp_path)]) == 1
    assert "official layout" in capsys.readouterr().err
    assert run_retrieval.main([*command, "--min-area", "9999"]) == 1
    assert "lower --min-area" in capsys.readouterr().err
    assert run_retrieval.main([*command, "--manifest", str(tmp_path / "none.json")]) == 1
    assert "leave --manifest out" in capsys.readouterr().err
    assert run_retrieval.main([*command, "--top-k", "0"]) == 2
    assert run_retrieval.main([*command, "--per-class", "0"]) == 2
    assert "1 <= per_class <= 10000" in capsys.readouterr().err
