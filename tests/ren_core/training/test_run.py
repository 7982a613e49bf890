"""One training job from sources to the file of the head, also by its command line."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest
import torch
from safetensors import safe_open

from ren_core.checkpoints import load_region_encoder, read_config
from ren_core.commands import train as train_ren
from ren_core.errors import ConfigError, DataError
from ren_core.training import run as run_module
from ren_core.training.recipes import RECIPES, SourceUse, recipe
from ren_core.training.run import TrainJob, make_batches
from ren_core.training.sources import label_folder_source
from ren_core.training.trainer import Worker
from tests.tiny import MeanColours
from tests.training_cases import CONFIG, DIM, Frames, LiftedColours


def test_a_recipe_that_draws_views_anew_takes_several_sources(tmp_path):
    base = recipe("dinov2-vitl14")
    named = replace(
        base,
        train=replace(base.train, pairs=4, precision="fp32"),
        sources={
            "scenes": SourceUse(weight=2, take_every=2),
            "coco": SourceUse(weight=1, cross_frame=False),
        },
        held_out_every=3,
    )
    sources = {"scenes": Frames(40, frames=4), "coco": Frames(40, frames=4)}
    job = TrainJob(recipe=named, sources=sources, out=tmp_path, target=tmp_path / "head")
    training, validation = make_batches(job, MeanColours(), Worker(torch.device("cpu")))
    coco, scenes = training.raw.sources
    assert (coco.weight, coco.cross_frame, len(coco.regions.entries)) == (1, False, 40)
    assert (scenes.weight, scenes.cross_frame, len(scenes.regions.entries)) == (2, True, 20)
    assert [len(groups) for groups in training.raw.groups] == [7, 7]
    assert [len(groups) for groups in validation.raw.groups] == [3, 3]
    ids = training.batch(0).region_ids
    own = [set(row.tolist()) - {-1} for row in ids]
    assert all(a & b for a, b in zip(own[::2], own[1::2], strict=True))
    assert len(set().union(*own)) == 4  # one object per pair, none shared between pairs


@pytest.fixture
def tiny_recipe(monkeypatch):
    monkeypatch.setattr(run_module, "build_encoder", lambda name: LiftedColours())
    small = replace(recipe("embedded"), encoder="dinov2-vits14", train=CONFIG, held_out_every=6)
    monkeypatch.setitem(RECIPES, "embedded", small)
    monkeypatch.setitem(RECIPES, "dino-vitb8", replace(small, cached=False))
    monkeypatch.setattr(train_ren, "yolo_source", label_folder_source)


def _command(quarters, out, *more):
    return ["--out", str(out), "--yolo", str(quarters / "images"), str(quarters / "labels"), *more]


@pytest.mark.parametrize("name", ["embedded", "dino-vitb8"])
def test_command_line_trains_resumes_and_writes_a_head(
    tiny_recipe, quarters, tmp_path, capsys, name
):
    command = _command(quarters, tmp_path, "--recipe", name, "--attention", "0.5", "--steps", "4")
    assert train_ren.main([*command, "--stop-after", "2"]) == 0
    half = load_region_encoder(tmp_path / "ren.safetensors")
    assert train_ren.main([*command, "--save", str(tmp_path / "mine.safetensors")]) == 0
    assert "mine.safetensors" in capsys.readouterr().out
    head = load_region_encoder(tmp_path / "mine.safetensors", expected_dim=DIM)
    assert not torch.equal(head.prompt_proj.weight, half.prompt_proj.weight)
    config = read_config(tmp_path / "mine.safetensors")
    assert config["encoder"] == "dinov2-vits14"
    assert config["training"]["train"]["loss"]["attention"] == 0.5
    assert config["final"]["step"] == 4
    assert json.loads((tmp_path / "recipe.json").read_text())["train"]["steps"] == 4


def test_command_line_does_not_go_on_with_other_data(tiny_recipe, quarters, tmp_path, capsys):
    assert train_ren.main(_command(quarters, tmp_path)) == 0
    head = (tmp_path / "ren.safetensors").read_bytes()
    assert train_ren.main(_command(quarters, tmp_path, "--no-cross-frame")) == 1
    assert "sources.yolo.cross_frame was True, is False" in capsys.readouterr().err
    fewer = tmp_path / "fewer"
    shutil.copytree(quarters / "images", fewer)
    (fewer / "0.png").rename(fewer / "00.png")
    shutil.copytree(quarters / "labels", tmp_path / "labels")
    (tmp_path / "labels/0.png").rename(tmp_path / "labels/00.png")
    renamed = ["--out", str(tmp_path), "--yolo", str(fewer), str(tmp_path / "labels")]
    assert train_ren.main(renamed) == 1
    assert "pictures.yolo was" in capsys.readouterr().err
    assert (tmp_path / "ren.safetensors").read_bytes() == head
    assert (
        train_ren.main(_command(quarters, tmp_path, "--keep-start", "1")) == 0
    )  # mixed in afterwards
    assert (tmp_path / "ren.safetensors").read_bytes() != head


def test_command_line_does_not_go_on_with_other_encoder_weights(
    tiny_recipe, quarters, tmp_path, capsys, monkeypatch
):
    online = ["--recipe", "dino-vitb8"]
    assert train_ren.main(_command(quarters, tmp_path, *online, "--stop-after", "1")) == 0
    other = LiftedColours()
    other.lift.weight.data += 1
    monkeypatch.setattr(run_module, "build_encoder", lambda name: other)
    assert train_ren.main(_command(quarters, tmp_path, *online)) == 1
    assert "encoder.weights was" in capsys.readouterr().err


def test_learned_queries_are_written_but_are_no_region_encoder(tiny_recipe, quarters, tmp_path):
    assert (
        train_ren.main(_command(quarters, tmp_path, "--queries", "learned", "--keep-start", "0"))
        == 0
    )
    path = tmp_path / "ren.safetensors"
    with pytest.raises(DataError, match="takes no point prompts") as error:
        load_region_encoder(path)
    assert "\n" not in str(error.value)
    with safe_open(path, framework="pt") as file:
        names = set(file.keys())
        queries = file.get_tensor("queries")
        config = json.loads(file.metadata()["config"])
    assert config["training"]["train"]["queries"] == "learned"
    assert not any("prompt_proj" in name for name in names)
    trained = torch.load(tmp_path / "checkpoint.pt", weights_only=True)["module"]
    assert {"queries", "places", "head.out_proj.weight"} < names < set(trained)
    assert torch.equal(queries, trained["queries"].half())


def test_the_written_head_keeps_a_share_of_its_start(tiny_recipe, quarters, tmp_path, monkeypatch):
    heads = {}
    for share in (0.0, 0.5, 1.0):
        monkeypatch.setitem(RECIPES, "embedded", replace(recipe("embedded"), keep_start=share))
        out = tmp_path / str(share)
        assert train_ren.main(_command(quarters, out, "--steps", "3")) == 0
        heads[share] = load_region_encoder(out / "ren.safetensors").prompt_proj.weight
    middle = (heads[0.0] + heads[1.0]) / 2
    assert not torch.allclose(heads[0.0], heads[1.0], atol=1e-4)
    assert torch.allclose(heads[0.5], middle, atol=1e-3)
    with pytest.raises(ConfigError, match="keep_start"):
        replace(recipe("embedded"), keep_start=1.5)


def test_command_line_names_what_is_missing(tiny_recipe, tmp_path, capsys):
    assert train_ren.main(["--out", str(tmp_path)]) == 2
    assert "--scenes" in capsys.readouterr().err
    assert train_ren.main(["--out", str(tmp_path), "--scenes", str(tmp_path)]) == 1
    assert "truth.json" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        train_ren.main(["--out", str(tmp_path), "--recipe", "nothing"])
