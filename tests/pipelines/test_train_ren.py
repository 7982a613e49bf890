"""Every flag of the training command reaches the configuration of the job."""

import argparse

import cv2
import numpy as np
import pytest

from pipelines import train_ren
from pipelines.train_ren import build_parser, open_sources, with_overrides
from ren_core.training.recipes import RECIPES, SourceUse, recipe

REQUIRED = ["--out", "runs"]


def _recipe(*flags, name="embedded"):
    args = build_parser().parse_args([*REQUIRED, *flags])
    return with_overrides(recipe(name), args)


@pytest.mark.parametrize(
    ("flags", "place", "value"),
    [
        (["--steps", "7", "--warmup", "2"], "train.steps", 7),
        (["--warmup", "3"], "train.warmup", 3),
        (["--pairs", "3"], "train.pairs", 3),
        (["--accumulation", "2"], "train.accumulation", 2),
        (["--learning-rate", "0.5"], "train.learning_rate", 0.5),
        (["--weight-decay", "0.25"], "train.weight_decay", 0.25),
        (["--max-grad-norm", "2.5"], "train.max_grad_norm", 2.5),
        (["--dropout", "0.3"], "train.dropout", 0.3),
        (["--sharpness", "1.5"], "train.sharpness", 1.5),
        (["--seed", "9"], "train.seed", 9),
        (["--validate-every", "5"], "train.validate_every", 5),
        (["--checkpoint-every", "6"], "train.checkpoint_every", 6),
        (["--precision", "bf16"], "train.precision", "bf16"),
        (["--start", "random"], "train.start", "random"),
        (["--queries", "learned"], "train.queries", "learned"),
        (["--contrast", "2"], "train.loss.contrast", 2),
        (["--feature", "3"], "train.loss.feature", 3),
        (["--relation", "0.5"], "train.loss.relation", 0.5),
        (["--attention", "4"], "train.loss.attention", 4),
        (["--temperature", "0.2"], "train.loss.temperature", 0.2),
        (["--scope", "image"], "train.loss.scope", "image"),
        (["--keep-null"], "train.loss.keep_null", True),
        (["--prompts", "33"], "train.sampling.count", 33),
        (["--balance", "0.75"], "train.sampling.balance", 0.75),
        (["--null-prompts"], "train.sampling.null_prompts", True),
        (["--keep-start", "0.1"], "keep_start", 0.1),
        (["--held-out-every", "4"], "held_out_every", 4),
    ],
)
def test_a_flag_changes_its_value_and_no_other(flags, place, value):
    def values(of):
        found = {}
        for path, part in (("", of), ("train.", of.train), ("train.loss.", of.train.loss),
                           ("train.sampling.", of.train.sampling)):  # fmt: skip
            found |= {path + name: getattr(part, name) for name in part.__slots__}
        return {
            k: v for k, v in found.items() if k not in ("train", "train.loss", "train.sampling")
        }

    before, after = values(_recipe()), values(_recipe(*flags))
    assert before[place] != value
    assert after[place] == value
    typed = {f"train.{flag[2:]}" for flag in flags if flag.startswith("--")}
    assert {k for k in before if before[k] != after[k]} <= {place, *typed}


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
    assert set(changed) == {"bsds", "yolo", "scenes", "regions"}


def test_label_folders_are_a_source(tmp_path):
    for folder in ("im", "maps"):
        (tmp_path / folder).mkdir()
        cv2.imwrite(str(tmp_path / folder / "a.png"), np.full((20, 20), 3, np.uint8))
    command = [*REQUIRED, "--labels", str(tmp_path / "im"), str(tmp_path / "maps")]
    sources = open_sources(build_parser().parse_args(command))
    assert list(sources) == ["labels"]
    assert sources["labels"].read(0).names.tolist() == [3]


def test_every_kind_of_source_has_a_flag():
    known = {action.dest for action in build_parser()._actions}
    assert set(train_ren.KINDS) <= known
    assert all(a.help for a in build_parser()._actions if a.help is not argparse.SUPPRESS)


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
