"""What decides a trained head: optimisation, losses, batches."""

from __future__ import annotations

from dataclasses import dataclass, field

from ren_core.errors import ConfigError
from ren_core.training.samples import PromptSampling

PRECISIONS = ("fp32", "bf16", "fp16")
SCOPES = ("batch", "image")
STARTS = ("random", "local")
QUERIES = ("points", "learned")


@dataclass(frozen=True, kw_only=True, slots=True)
class LossConfig:
    """Weights and settings of the losses.

    Attributes:
        contrast: Weight of InfoNCE.
        feature: Weight of the feature similarity.
        relation: Weight of the cross-view similarity term of the released code.
        attention: Weight of the attention supervision on the last block.
        temperature: Of InfoNCE.
        scope: Negatives from the whole ``"batch"``, or from the two views of one ``"image"`` only.
        keep_null: Prompts without a region count as a region of each view, as in the release.
    """

    contrast: float = 1.0
    feature: float = 1.0
    relation: float = 0.0
    attention: float = 0.0
    temperature: float = 0.1
    scope: str = "batch"
    keep_null: bool = False

    def __post_init__(self) -> None:
        if self.scope not in SCOPES:
            raise ConfigError(f"scope must be one of {SCOPES}, got {self.scope!r}")
        weights = (self.contrast, self.feature, self.relation, self.attention)
        if min(weights) < 0 or max(weights) == 0 or self.temperature <= 0:
            raise ConfigError(
                f"loss weights must not be negative nor all zero and the temperature must be "
                f"positive, got {weights} and {self.temperature}"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """One training run.

    Attributes:
        steps: Optimiser steps.
        warmup: Steps of linear warm-up.
        learning_rate: Peak.
        weight_decay: Of AdamW.
        max_grad_norm: Gradients are clipped to this length, after unscaling.
        pairs: Pairs of views per forward pass and process.
        accumulation: Forward passes per optimiser step.
        precision: ``"bf16"``, ``"fp16"`` (scaled gradients) or ``"fp32"``.
        dropout: Of the head, in training.
        num_heads: Attention heads.
        num_layers: Blocks.
        start: ``"random"``, or ``"local"``: tokens begin as the patches around their prompts.
        sharpness: Of the local start: higher looks at fewer patches around the prompt.
        queries: ``"points"``, or ``"learned"`` for the ablation without point prompts.
        sampling: Prompts of a view.
        loss: What is minimised.
        validate_every: Steps between validations; also of the rows of the curve file.
        checkpoint_every: Steps between checkpoints.
        seed: Of weights, batches, prompts and dropout.
    """

    steps: int
    warmup: int = 100
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    max_grad_norm: float = 5.0
    pairs: int = 16
    accumulation: int = 1
    precision: str = "bf16"
    dropout: float = 0.1
    num_heads: int = 8
    num_layers: int = 4
    start: str = "random"
    sharpness: float = 3.0
    queries: str = "points"
    sampling: PromptSampling = field(default_factory=PromptSampling)
    loss: LossConfig = field(default_factory=LossConfig)
    validate_every: int = 50
    checkpoint_every: int = 200
    seed: int = 42

    def __post_init__(self) -> None:
        for name, choices in (("precision", PRECISIONS), ("start", STARTS), ("queries", QUERIES)):
            if getattr(self, name) not in choices:
                raise ConfigError(f"{name} must be one of {choices}, got {getattr(self, name)!r}")
        if not 0 <= self.warmup < self.steps:
            raise ConfigError(f"need 0 <= warmup < steps, got {self.warmup} and {self.steps}")
        counts = (self.pairs, self.accumulation, self.validate_every, self.checkpoint_every)
        if min(counts) < 1:
            raise ConfigError(
                f"pairs, accumulation, validate_every and checkpoint_every must be at least 1, "
                f"got {counts}"
            )
        positive = (self.learning_rate, self.max_grad_norm, self.sharpness)
        if min(positive) <= 0 or not 0 <= self.dropout < 1:
            raise ConfigError(
                f"need positive learning_rate, max_grad_norm and sharpness and dropout in [0, 1), "
                f"got {positive} and {self.dropout}"
            )
