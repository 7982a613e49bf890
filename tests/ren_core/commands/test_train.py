"""Every flag of the training command reaches the configuration of the job."""

import argparse
from dataclasses import replace

import cv2
import numpy as np
import pytest

from ren_core.commands import train as train_ren
from ren_core.commands.parsers import COMMANDS
from ren_core.commands.train import open_sources, with_overrides
from ren_core.training.recipes import RECIPES, SourceUse, recipe

REQUIRED = ["--out", "runs"]


def _recipe(*flags, name="embedded"):
    args = COMMANDS["train"].parser().parse_args([*REQUIRED, *flags])
    return with_overrides(recipe(name), args)


def test_every_flag_reaches_its_place():
    base = recipe("embedded")
    loss = {"contrast": 2.25, "feature": 3.5, "relation": 0.6, "attention": 4.5}
    loss |= {"temperature": 0.2, "scope": "image"}
    sampling = {"count": 33, "balance": 0.75}
    train = {"steps": 7, "warmup": 3, "pairs": 11, "accumulation": 2, "seed": 9}
    train |= {"learning_rate": 0.5, "weight_decay": 0.25, "max_grad_norm": 2.5, "dropout": 0.3}
    train |= {"sharpness": 1.5, "validate_every": 5, "checkpoint_every": 6}
    train |= {"precision": "bf16", "start": "random", "queries": "learned"}
    whole = {"keep_start": 0.1, "held_out_every": 4}
    typed = {**loss, **train, **whole, "prompts": 33, "balance": 0.75}
    flags = [w for k, v in typed.items() for w in (f"--{k.replace('_', '-')}", str(v))]

    expected = replace(
        base,
        train=replace(
            base.train,
            **train,
            loss=replace(base.train.loss, **loss, keep_null=True),
            sampling=replace(base.train.sampling, **sampling, null_prompts=True),
        ),
        **whole,
    )
    assert _recipe(*flags, "--keep-null", "--null-prompts") == expected
    for part, values in ((base.train, train), (base.train.loss, loss), (base, whole)):
        assert all(getattr(part, name) != value for name, value in values.items())
    assert (base.train.sampling.count, base.train.sampling.balance) != (33, 0.75)


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_nothing_typed_is_the_recipe(name):
    assert _recipe(name=name) == recipe(name)


def test_switches_go_both_ways():
    assert not _recipe("--no-keep-null", name="dinov2-vitl14-release").train.loss.keep_null
    assert not _recipe("--no-null-prompts", name="dinov2-vitl14").train.sampling.null_prompts


def test_no_cross_frame_is_for_every_source_that_is_given():
    changed = _recipe("--no-cross-frame", "--scenes", "s", name="dinov2-vitl14").sources
    assert changed == {"scenes": SourceUse(cross_frame=False)}
    changed = _recipe("--no-cross-frame", "--regions", "r").sources
    assert not any(use.cross_frame for use in changed.values())
    assert changed["scenes"].take_every == recipe("embedded").sources["scenes"].take_every
    assert set(changed) == {"bsds", "scenes", "regions"}


def test_label_folders_are_a_source(tmp_path):
    for folder in ("im", "maps"):
        (tmp_path / folder).mkdir()
        cv2.imwrite(str(tmp_path / folder / "a.png"), np.full((20, 20), 3, np.uint8))
    command = [*REQUIRED, "--labels", str(tmp_path / "im"), str(tmp_path / "maps")]
    sources = open_sources(COMMANDS["train"].parser().parse_args(command))
    assert list(sources) == ["labels"]
    assert sources["labels"].read(0).names.tolist() == [3]


def test_every_kind_of_source_has_a_flag():
    known = {action.dest for action in COMMANDS["train"].parser()._actions}
    assert set(train_ren.KINDS) <= known
    assert all(
        a.help for a in COMMANDS["train"].parser()._actions if a.help is not argparse.SUPPRESS
    )


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (["--held-out-every", "1"], "held_out_every"),
        (["--balance", "2"], "balance"),
        (["--prompts", "0"], "count"),
        ([], "--labels"),
    ],
)
def test_mistakes_are_usage_errors(tmp_path, capsys, flags, text):
    assert train_ren.main(["--out", str(tmp_path), *flags]) == 2
    assert text in capsys.readouterr().err
