"""Visual Haystacks end to end over real COCO images, with the true architecture made small."""

import json
from functools import partial

import pytest

from eval.haystacks.protocol import question_file
from eval.haystacks.tokens import RegionEncode
from pipelines import run_haystacks
from ren_core import weights
from ren_core.encoders.siglip2 import Sizes, random_siglip2
from ren_core.errors import ShapeError
from ren_core.weight_files import stored_path
from tests.places import SHARED
from tests.tiny import tiny_ren
from tools import coco128
from tools.coco_questions import make_questions, read_objects, write_questions

pytestmark = pytest.mark.data
SIZES = ["1", "2", "3", "5"]


@pytest.fixture(scope="module")
def coco(tmp_path_factory):
    if not SHARED.is_dir():
        pytest.skip("../shared is not beside this checkout")
    root = tmp_path_factory.mktemp("coco")
    coco128.convert(SHARED / "data" / "train" / "coco128_seg", root)
    return root


@pytest.fixture
def command(coco, tmp_path, monkeypatch):
    """Question files of four sizes over ten images, and the words of a run over them."""
    every = read_objects(coco)
    objects = {name: every[name] for name in sorted(every)[::13]}
    for size in SIZES:
        records = make_questions(objects, int(size), 6, seed=int(size))
        write_questions(tmp_path / "VHs_qa", int(size), records)
    monkeypatch.setattr(run_haystacks, "build_ren", lambda args: tiny_ren(merge_similarity=0.98))
    small = partial(random_siglip2, sizes=Sizes(width=48), input_size=64)
    monkeypatch.setattr(run_haystacks, "random_siglip2", small)
    words = ["--data", str(tmp_path / "VHs_qa"), "--coco", str(coco), "--sizes", *SIZES]
    words += ["--random-weights", "1", "--cache", str(tmp_path / "cache")]
    return [*words, "--out", str(tmp_path / "out.json"), "--batch", "4", "--threads", "1"]


@pytest.fixture
def encoded(monkeypatch):
    """How many pictures every call of the encoder has taken."""
    calls: list[int] = []
    original = RegionEncode.__call__

    def counted(self, images):
        calls.append(len(images))
        return original(self, images)

    monkeypatch.setattr(RegionEncode, "__call__", counted)
    return calls


def result(tmp_path):
    return json.loads((tmp_path / "out.json").read_text())


def test_both_methods_at_every_size(command, encoded, tmp_path, capsys):
    assert run_haystacks.main(command) == 0
    printed = capsys.readouterr().out
    assert "random weights: every accuracy below is chance" in printed
    found = result(tmp_path)
    assert "chance" in found["note"]
    assert [(r["method"], r["images"]) for r in found["rows"]] == [
        (method, int(size)) for method in ("REN regions", "whole image") for size in SIZES
    ]
    oracle = [r for r in found["rows"] if r["images"] == 1]
    assert [r["figures"]["needle_recall"] for r in oracle] == [1, 1]
    for row in found["rows"]:
        assert row["figures"]["questions"] == len(row["answers"]) == 6
        assert row["figures"]["truth_rate"] == 0.5
        right = sum(a["said"] == a["truth"] for a in row["answers"])
        assert row["figures"]["accuracy"] == pytest.approx(right / 6)
    names = {n for size in SIZES for n in images_of(tmp_path, int(size))}
    assert found["images"] == found["encoded"] == sum(encoded) == len(names)

    rows = found["rows"]
    encoded.clear()
    assert run_haystacks.main(command) == 0
    assert sum(encoded) == result(tmp_path)["encoded"] == 0
    assert result(tmp_path)["rows"] == rows
    assert "0 of" in capsys.readouterr().out


def images_of(tmp_path, size):
    file = question_file(tmp_path / "VHs_qa", "VHs_large", size)
    return {n for r in json.loads(file.read_text()) for n in r["pos_image"] + r["neg_image"]}


def test_a_killed_run_goes_on_where_it_was(command, encoded, tmp_path, monkeypatch):
    counted = RegionEncode.__call__

    def dies(self, images):
        if sum(encoded) >= 4:
            raise KeyboardInterrupt
        return counted(self, images)

    with monkeypatch.context() as patch:
        patch.setattr(RegionEncode, "__call__", dies)
        with pytest.raises(KeyboardInterrupt):
            run_haystacks.main(command)
    assert sum(encoded) == 4
    assert run_haystacks.main(command) == 0
    assert result(tmp_path)["encoded"] == result(tmp_path)["images"] - 4
    assert sum(encoded) == result(tmp_path)["images"]


def test_settings_reach_the_result_and_tokens_of_others_are_not_reused(command, tmp_path):
    assert run_haystacks.main([*command, "--sizes", "2", "--limit", "3"]) == 0
    first = result(tmp_path)
    changes = ["--threshold", "-1", "--resamples", "7", "--seed", "3", "--template", "{}"]
    again = [*command, "--sizes", "2", "--limit", "3", *changes]
    assert run_haystacks.main(again) == 0
    second = result(tmp_path)
    assert second["encoded"] == 0
    assert all(row["figures"]["yes_rate"] == 1 for row in second["rows"])
    assert second["settings"]["protocol"]["resamples"] == 7
    for changed in (["--patches", "overlap"], ["--vanished", "drop"], ["--random-weights", "2"]):
        assert run_haystacks.main([*again, *changed]) == 0
        third = result(tmp_path)
        assert third["encoded"] == third["images"]
        assert third["store"] != first["store"] == second["store"]


def test_missing_data_and_weights_are_sentences(command, tmp_path, monkeypatch, capsys):
    assert run_haystacks.main([*command, "--sizes", "10"]) == 1
    assert "huggingface-cli download --repo-type dataset" in capsys.readouterr().err
    assert run_haystacks.main([*command, "--coco", str(tmp_path)]) == 1
    assert "train2017.zip" in capsys.readouterr().err
    assert run_haystacks.main([*command, "--threshold", "3"]) == 2
    assert run_haystacks.main([*command, "--batch", "0"]) == 2
    monkeypatch.setenv("REN_CACHE", str(tmp_path / "empty"))
    at = command.index("--random-weights")
    assert run_haystacks.main([*command[:at], *command[at + 2 :]]) == 1
    assert "vq2d fetch-weights siglip2-tokenizer" in capsys.readouterr().err
    monkeypatch.setattr(run_haystacks, "build_ren", _without_area)
    assert run_haystacks.main([*command, "--sizes", "1", "--limit", "1"]) == 1


def _without_area(args):
    raise ShapeError("no area")


@pytest.mark.weights
def test_the_embedded_preset_with_changed_prompts(command, tmp_path, monkeypatch):
    if not stored_path(weights.find("embedded-vits14")).is_file():
        pytest.skip("embedded weights are not in the cache; run `make weights`")
    monkeypatch.undo()  # the reduced SigLIP 2 as users get it, 384 px
    words = ["--preset", "embedded", "--grid-size", "8", "--merge-similarity", "0.9"]
    assert run_haystacks.main([*command, *words, "--sizes", "1", "--limit", "2"]) == 0
    found = result(tmp_path)
    assert found["settings"]["regions"]["grid_size"] == 8
    store = tmp_path / "cache" / found["store"]
    pooler = json.loads((store / "stage.json").read_text())["config"]["pooler"]
    assert (pooler["input_size"], pooler["patch_size"], pooler["dim"]) == (384, 16, 96)
