"""What decides a trained head: optimisation, losses, batches."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Literal, get_args

from pydantic import Field

from ren_core.configuration import Count, Seed, Weight, configuration
from ren_core.errors import ConfigError
from ren_core.training.samples import PromptSampling

Precision = Literal["fp32", "bf16", "fp16"]
Scope = Literal["batch", "image"]
Start = Literal["random", "local"]
Queries = Literal["points", "learned"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
SCOPES: tuple[Scope, ...] = get_args(Scope)
STARTS: tuple[Start, ...] = get_args(Start)
QUERIES: tuple[Queries, ...] = get_args(Queries)

Steps = Annotated[int, Field(ge=1, le=10_000_000)]
Rate = Annotated[float, Field(gt=0, le=10)]


@configuration()
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

    contrast: Weight = 1.0
    feature: Weight = 1.0
    relation: Weight = 0.0
    attention: Weight = 0.0
    temperature: Annotated[float, Field(ge=0.001, le=100)] = 0.1
    scope: Scope = "batch"
    keep_null: bool = False

    def __post_init__(self) -> None:
        if not self.contrast + self.feature + self.relation + self.attention:
            raise ConfigError("the weights of the losses must not be all zero; give one of them")


@configuration()
class Optimisation:
    """How a network is trained, whatever it is trained for.

    Attributes:
        steps: Optimiser steps.
        warmup: Steps of linear warm-up.
        learning_rate: Peak.
        weight_decay: Of AdamW.
        max_grad_norm: Gradients are clipped to this length, after unscaling.
        accumulation: Forward passes per optimiser step.
        precision: ``"bf16"``, ``"fp16"`` (scaled gradients) or ``"fp32"``.
        validate_every: Steps between validations; also of the rows of the curve file.
        checkpoint_every: Steps between checkpoints.
        seed: Of weights, batches, prompts and dropout.
    """

    steps: Steps
    warmup: Annotated[int, Field(ge=0, le=10_000_000)] = 100
    learning_rate: Rate = 1e-3
    weight_decay: Annotated[float, Field(ge=0, le=10)] = 0.01
    max_grad_norm: Annotated[float, Field(gt=0, le=1e12)] = 5.0
    accumulation: Count = 1
    precision: Precision = "bf16"
    validate_every: Steps = 50
    checkpoint_every: Steps = 200
    seed: Seed = 42

    def __post_init__(self) -> None:
        if self.warmup >= self.steps:
            raise ConfigError(
                f"warmup must end before the last step, got {self.warmup} of {self.steps} steps"
            )


@configuration()
class TrainConfig(Optimisation):
    """One training run of a region encoder.

    Attributes:
        pairs: Pairs of views per forward pass and process.
        dropout: Of the head, in training.
        num_heads: Attention heads.
        num_layers: Blocks.
        start: ``"random"``, or ``"local"``: tokens begin as the patches around their prompts.
        sharpness: Of the local start: higher looks at fewer patches around the prompt.
        queries: ``"points"``, or ``"learned"`` for the ablation without point prompts.
        sampling: Prompts of a view.
        loss: What is minimised.
    """

    pairs: Count = 16
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    num_heads: Annotated[int, Field(ge=1, le=128)] = 8
    num_layers: Annotated[int, Field(ge=1, le=128)] = 4
    start: Start = "random"
    sharpness: Annotated[float, Field(gt=0, le=1000)] = 3.0
    queries: Queries = "points"
    sampling: PromptSampling = field(default_factory=PromptSampling)
    loss: LossConfig = field(default_factory=LossConfig)
