"""Complete training configurations, by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ren_core.errors import ConfigError
from ren_core.training.config import LossConfig, TrainConfig
from ren_core.training.samples import PromptSampling


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceUse:
    """How much of a source is used.

    Attributes:
        weight: Share of the pairs, relative to the other sources that are given.
        views_per_image: Fixed views of every picture, where views are cached.
        take_every: Use every such picture only.
        cross_frame: In a group of several pictures (a video) the two views of a pair are two of
            its pictures; otherwise two views of one picture.
    """

    weight: float = 1.0
    views_per_image: int = 2
    take_every: int = 1
    cross_frame: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """What a head is trained on and how.

    Attributes:
        encoder: Catalogue name of the frozen encoder; views have its input size.
        train: Optimisation and losses.
        keep_start: Share, 0..1, of the weights before training in the weights that are written: the
            mean of both ends of a short training keeps what the start could do.
        cached: Views are fixed and their features cached; otherwise drawn anew in every step.
        views_seed: Of the fixed views, so that trainings with other seeds share one cache.
        sources: Per kind of source; kinds that are not named here are used with the defaults.
    """

    encoder: str
    train: TrainConfig
    keep_start: float = 0.0
    cached: bool = False
    views_seed: int = 42
    sources: Mapping[str, SourceUse] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 0 <= self.keep_start <= 1:
            raise ConfigError(f"keep_start must lie in 0..1, got {self.keep_start}")


# Ego4D: about 50,000 frames at 16 per step for 50 epochs; the released code
# lets its cosine end after 1/16 of that, here it ends with the training.
PAPER_STEPS = 50 * 50_000 // 16
_PAPER = TrainConfig(
    steps=PAPER_STEPS,
    loss=LossConfig(relation=1.0, scope="image"),
    validate_every=500,
    checkpoint_every=1000,
)

RECIPES: dict[str, Recipe] = {
    "dino-vitb8": Recipe(encoder="dino-vitb8", train=_PAPER),
    "dinov2-vitl14": Recipe(encoder="dinov2-vitl14", train=_PAPER),
    "openclip-vitg14": Recipe(encoder="openclip-vitg14", train=_PAPER),
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
            "yolo": SourceUse(weight=0.15),
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
