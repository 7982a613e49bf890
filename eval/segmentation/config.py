"""What decides a segmentation figure: tokens, head, seeds."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ren_core.errors import ConfigError
from ren_core.presets import PROMPTING
from ren_core.schedule import learning_rate_factor

SOURCES = ("patches", "ren")
SCHEDULES = ("cosine", "linear")
AUGMENTATIONS = ("none", "resized-crop", "scale-crop")
SQUASHES = ("bicubic", "bilinear")


@dataclass(frozen=True, kw_only=True, slots=True)
class Method:
    """One row of a segmentation table.

    Attributes:
        source: ``patches``: the encoder's own; ``ren``: REN tokens (not the aligned ones).
        prompting: ``grid``: patches, or prompts at cell centres, scores interpolated between them;
            ``slic``: one token per superpixel (for patches: their mean over it), scores constant.
        merge_similarity: The cosine μ from which tokens are merged; None: each for itself.
        min_group: Merged groups of fewer tokens are dissolved into the most similar kept group.
    """

    source: str = "ren"
    prompting: str = "grid"
    merge_similarity: float | None = None
    min_group: int = 3

    def __post_init__(self) -> None:
        if self.source not in SOURCES or self.prompting not in PROMPTING:
            raise ConfigError(
                f"a method has a source of {SOURCES} and prompting of {PROMPTING}, got "
                f"{self.source!r} and {self.prompting!r}"
            )

    @property
    def name(self) -> str:
        """Such as ``ren-grid`` or ``ren-slic-0.95``."""
        merged = "" if self.merge_similarity is None else f"-{self.merge_similarity:g}"
        return f"{self.source}-{self.prompting}{merged}"


@dataclass(frozen=True, kw_only=True, slots=True)
class HeadConfig:
    """How a head is trained and applied.

    Attributes:
        epochs: Rounds over the training images, unless ``steps`` is given.
        steps: Optimiser steps.
        batch: Images per step.
        learning_rate: Peak, of AdamW.
        weight_decay: Of AdamW.
        warmup: Steps of linear warm-up.
        schedule: After it: ``cosine`` or ``linear``, both down to zero.
        augmentation: ``none``: the squashed image or its mirror image, which is what allows
            features to be encoded once; ``resized-crop``: a random part of random shape, bicubic;
            ``scale-crop``: a random scale, a square of the encoder's size, colour distortion.
        squash: How whole images become squares, in evaluation and where nothing is augmented.
        flip: Probability of the mirror image.
        dropout: Of whole channels before the classifier.
        normal_init: Standard deviation of the first weights; None: Kaiming, fan-in.
        label_stride: The loss takes every n-th pixel of every n-th row.
        slide: Predict in overlapping square windows of the unsquashed image, rescaled bilinearly.
    """

    epochs: int = 100
    steps: int | None = None
    batch: int = 32
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    warmup: int = 100
    schedule: str = "cosine"
    augmentation: str = "resized-crop"
    squash: str = "bicubic"
    flip: float = 0.5
    dropout: float = 0.0
    normal_init: float | None = None
    label_stride: int = 1
    slide: bool = False

    def __post_init__(self) -> None:
        if self.schedule not in SCHEDULES or self.augmentation not in AUGMENTATIONS:
            raise ConfigError(
                f"schedule must be one of {SCHEDULES} and augmentation of {AUGMENTATIONS}, got "
                f"{self.schedule!r} and {self.augmentation!r}"
            )
        if self.squash not in SQUASHES:
            raise ConfigError(f"squash must be one of {SQUASHES}, got {self.squash!r}")
        if min(self.epochs, self.batch, self.label_stride, self.steps or 1) < 1:
            raise ConfigError(
                f"epochs, steps, batch and label_stride must be at least 1, got {self.epochs}, "
                f"{self.steps}, {self.batch} and {self.label_stride}"
            )

    def total_steps(self, images: int) -> int:
        """Optimiser steps for a training set of that many images."""
        return self.steps or self.epochs * math.ceil(images / self.batch)

    def rate_factor(self, step: int, total: int) -> float:
        """Share of the peak learning rate at a step; warm-up takes at most half of ``total``."""
        warmup = min(self.warmup, total // 2)
        if self.schedule == "cosine":
            return learning_rate_factor(step, warmup, total)
        return min(1.0, (step + 1) / max(warmup, 1)) * (1 - step / total)


HEAD_PRESETS: dict[str, HeadConfig] = {
    # as REN's released segmentation code, but its region encoder in evaluation mode throughout
    "release": HeadConfig(),
    # DINOv2's linear evaluation, with the encoder's own input size in the place of 512 px
    "dinov2-lin": HeadConfig(
        steps=40_000,
        batch=16,
        weight_decay=1e-4,
        warmup=1500,
        schedule="linear",
        augmentation="scale-crop",
        normal_init=0.01,
        slide=True,
    ),
    # release for small data on a CPU: two fixed views whose features are encoded once
    "small": HeadConfig(
        epochs=30, batch=8, warmup=50, augmentation="none", squash="bilinear", label_stride=4
    ),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class SegmentationConfig:
    """One comparison.

    Attributes:
        methods: What is scored; all methods of one source share its head.
        head: How heads are trained and applied.
        grid_size: Prompts per side of REN's grid, which heads are always trained on; SLIC makes
            about its square of superpixels.
        seeds: One training each.
    """

    methods: tuple[Method, ...]
    head: HeadConfig
    grid_size: int
    seeds: tuple[int, ...] = (0,)

    def __post_init__(self) -> None:
        if not self.methods or not self.seeds:
            raise ConfigError("a comparison needs at least one method and one seed")
        names = [method.name for method in self.methods]
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            raise ConfigError(f"{repeated[0]} stands twice in the comparison; leave one out")

    @property
    def sources(self) -> tuple[str, ...]:
        """Sources of tokens that need a head."""
        return tuple(dict.fromkeys(method.source for method in self.methods))
