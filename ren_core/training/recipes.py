"""Complete training configurations, by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, replace
from typing import Annotated

from pydantic import Field

from ren_core.configuration import Count, Seed, Share, configuration
from ren_core.errors import ConfigError
from ren_core.training.config import LossConfig, TrainConfig
from ren_core.training.samples import PromptSampling


@configuration()
class SourceUse:
    """How much of a source is used.

    Attributes:
        weight: Share of the pairs, relative to the other sources that are given.
        views_per_image: Fixed views of every picture, where views are cached.
        take_every: Use only every n-th picture.
        cross_frame: In a group of several pictures (a video) the two views of a pair are two of
            its pictures; otherwise two views of one picture.
    """

    weight: Annotated[float, Field(gt=0, le=1000)] = 1.0
    views_per_image: Count = 2
    take_every: Count = 1
    cross_frame: bool = True


@configuration()
class Recipe:
    """What a head is trained on and how.

    Attributes:
        encoder: Catalogue name of the frozen encoder; views have its input size.
        train: Optimisation and losses.
        keep_start: Share, 0..1, of the starting weights in the weights that are written. Mixing
            start and end of a short training keeps what the start could do.
        cached: Views are fixed and their features cached; otherwise drawn anew in every step.
        views_seed: Of the fixed views, so that trainings with other seeds share one cache.
        sources: Use of each kind of source; a kind that is not named gets the defaults.
        held_out_every: Every n-th video is kept for validation; a group without one counts as one.
    """

    encoder: str
    train: TrainConfig
    keep_start: Share = 0.0
    cached: bool = False
    views_seed: Seed = 42
    sources: Mapping[str, SourceUse] = field(default_factory=dict)
    held_out_every: Annotated[int, Field(ge=2, le=10_000)] = 20


PAPER_EPOCHS = 50
EGO4D_FRAMES = 50_000  # about: one frame per 15 s of the VQ2D train clips
COCO_PICTURES = 118_287  # train2017

PAPER_LOSS = LossConfig(scope="image")  # negatives from the two views of one picture
RELEASE_LOSS = LossConfig(scope="image", relation=0.5, keep_null=True)
"""The released loss is (1 - cosine of view 1 + 1 - cosine of view 2 + relation) / 2, where our
feature similarity is already the mean of both views; and null prompts stay in the contrast."""


def paper_config(pictures: int, loss: LossConfig) -> TrainConfig:
    """The paper's training over so many pictures; its values are the defaults of TrainConfig.

    The released code lets its cosine end after 1/16 of the steps; here it ends with the training.
    """
    whole = TrainConfig(
        steps=PAPER_EPOCHS * pictures, loss=loss, validate_every=500, checkpoint_every=1000
    )
    return replace(whole, steps=whole.steps // whole.pairs)


def paper_recipes(encoder: str) -> dict[str, Recipe]:
    """For Ego4D frames, for COCO, and with the loss of the release (trained on Ego4D)."""
    return {
        encoder: Recipe(encoder=encoder, train=paper_config(EGO4D_FRAMES, PAPER_LOSS)),
        f"{encoder}-coco": Recipe(encoder=encoder, train=paper_config(COCO_PICTURES, PAPER_LOSS)),
        f"{encoder}-release": Recipe(
            encoder=encoder, train=paper_config(EGO4D_FRAMES, RELEASE_LOSS)
        ),
    }


RECIPES: dict[str, Recipe] = {
    **paper_recipes("dino-vitb8"),
    **paper_recipes("dinov2-vitl14"),
    **paper_recipes("openclip-vitg14"),
    "embedded": Recipe(
        encoder="embedded",
        keep_start=0.5,
        cached=True,
        train=TrainConfig(
            steps=160,
            warmup=20,
            learning_rate=3e-4,
            pairs=8,
            precision="fp32",
            start="local",
            sampling=PromptSampling(count=64, balance=0.5, null_prompts=False),
            validate_every=40,
            checkpoint_every=40,
        ),
        sources={
            "bsds": SourceUse(weight=0.45),
            "scenes": SourceUse(weight=0.4, take_every=2),
        },
    ),
}


def recipe(name: str) -> Recipe:
    """The recipe of a name.

    Raises:
        ConfigError: If there is none; the message lists the names.
    """
    if name not in RECIPES:
        raise ConfigError(f"no training recipe is called {name!r}; choose one of {sorted(RECIPES)}")
    return RECIPES[name]
