"""The named training configurations hold the paper's values."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ren_core.errors import ConfigError
from ren_core.training.config import LossConfig
from ren_core.training.recipes import RECIPES, recipe
from ren_core.training.samples import PromptSampling

PAPER = {
    "pairs": 16,
    "accumulation": 1,
    "learning_rate": 1e-3,
    "weight_decay": 0.01,
    "warmup": 100,
    "max_grad_norm": 5.0,
    "precision": "bf16",
    "start": "random",
    "queries": "points",
    "sampling": PromptSampling(count=256, balance=0.0, null_prompts=True),
}
LOSS = {"contrast": 1.0, "feature": 1.0, "attention": 0.0, "temperature": 0.1, "scope": "image"}


@pytest.mark.parametrize("encoder", ["dino-vitb8", "dinov2-vitl14", "openclip-vitg14"])
@pytest.mark.parametrize(
    ("suffix", "steps", "relation", "keep_null"),
    [
        ("", 156_250, 0.0, False),  # 50 * 50,000 / 16
        ("-coco", 369_646, 0.0, False),  # 50 * 118,287 / 16
        ("-release", 156_250, 0.5, True),
    ],
)
def test_paper_recipes(encoder, suffix, steps, relation, keep_null):
    named = recipe(encoder + suffix)
    assert named.encoder == encoder
    assert not named.cached
    assert named.keep_start == 0
    assert {name: getattr(named.train, name) for name in PAPER} == PAPER
    assert named.train.steps == steps
    assert named.train.loss == LossConfig(**LOSS, relation=relation, keep_null=keep_null)


@pytest.mark.parametrize("wrong", [{"held_out_every": 1}, {"keep_start": -0.1}])
def test_recipes_reject_nonsense(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        replace(recipe("embedded"), **wrong)


def test_recipes_name_known_encoders():
    from ren_core.encoders.catalog import NAMES

    assert {entry.encoder for entry in RECIPES.values()} <= set(NAMES)
    with pytest.raises(ConfigError, match="embedded"):
        recipe("nothing")
