"""What decides a segmentation figure: tokens, head, seeds."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import Field

from ren_core.configuration import Cosine, Count, GridSize, Seed, Share, configuration
from ren_core.errors import ConfigError
from ren_core.presets import Prompting, RENConfig
from ren_core.schedule import learning_rate_factor

Source = Literal["patches", "ren"]
Schedule = Literal["cosine", "linear"]
Augmentation = Literal["none", "resized-crop", "scale-crop"]
Squash = Literal["bicubic", "bilinear"]


@configuration()
class Method:
    """One row of a segmentation table.

    Attributes:
        source: ``patches``: the encoder's own; ``ren``: REN tokens (not the aligned ones).
        prompting: ``grid``: patches, or prompts at cell centres, scores interpolated between them;
            ``slic``: one token per superpixel (for patches: their mean over it), scores constant.
        merge_similarity: The cosine μ from which tokens are merged.
        min_group: Groups of fewer tokens are dissolved into the most similar kept group.
        regions: Tokens are merged into at most so many by k-means. Without one of the two every
            token stands for itself.
    """

    source: Source = "ren"
    prompting: Prompting = "grid"
    merge_similarity: Cosine | None = None
    min_group: Count = 3
    regions: Count | None = None

    def __post_init__(self) -> None:
        if self.regions is not None and self.merge_similarity is not None:
            raise ConfigError("tokens are merged by a cosine or into so many regions, not by both")

    @property
    def merged(self) -> bool:
        """Whether several prompts share a token."""
        return self.regions is not None or self.merge_similarity is not None

    @property
    def name(self) -> str:
        """Such as ``ren-grid``, ``ren-slic-0.95`` or ``ren-grid-k80``."""
        parts: list[str] = [self.source, self.prompting]
        if self.merge_similarity is not None:
            parts.append(f"{self.merge_similarity:g}")
        if self.regions is not None:
            parts.append(f"k{self.regions}")
        return "-".join(parts)


@configuration()
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

    epochs: Count = 100
    steps: Annotated[int, Field(ge=1, le=10_000_000)] | None = None
    batch: Count = 32
    learning_rate: Annotated[float, Field(gt=0, le=10)] = 1e-3
    weight_decay: Annotated[float, Field(ge=0, le=10)] = 0.01
    warmup: Annotated[int, Field(ge=0, le=10_000_000)] = 100
    schedule: Schedule = "cosine"
    augmentation: Augmentation = "resized-crop"
    squash: Squash = "bicubic"
    flip: Share = 0.5
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    normal_init: Annotated[float, Field(ge=0, le=10)] | None = None
    label_stride: Annotated[int, Field(ge=1, le=4096)] = 1
    slide: bool = False

    def total_steps(self, images: int) -> int:
        """Optimiser steps for a training set of that many images."""
        return self.steps or self.epochs * math.ceil(images / self.batch)

    def rate_factor(self, step: int, total: int) -> float:
        """Share of the peak learning rate at a step; warm-up takes at most half of ``total``."""
        warmup = min(self.warmup, total // 2)
        if self.schedule == "cosine":
            return learning_rate_factor(step, warmup, total)
        return min(1.0, (step + 1) / max(warmup, 1)) * (1 - step / total)


def merging_of(ren: RENConfig) -> dict[str, Any]:
    """How a model merges tokens, as fields of a ``Method``."""
    if ren.regions is not None:
        return {"regions": ren.regions}
    return {"merge_similarity": ren.merge_similarity, "min_group": ren.min_group}


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


@configuration()
class SegmentationConfig:
    """One comparison.

    Attributes:
        methods: What is scored; all methods of one source share its head.
        head: How heads are trained and applied.
        grid_size: Prompts per side of REN's grid, which heads are always trained on; SLIC makes
            about its square of superpixels.
        seeds: One training each.
    """

    methods: Annotated[tuple[Method, ...], Field(min_length=1)]
    head: HeadConfig
    grid_size: GridSize
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1, max_length=1000)] = (0,)

    def __post_init__(self) -> None:
        names = [method.name for method in self.methods]
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            raise ConfigError(f"{repeated[0]} stands twice in the comparison; leave one out")

    @property
    def sources(self) -> tuple[str, ...]:
        """Sources of tokens that need a head."""
        return tuple(dict.fromkeys(method.source for method in self.methods))
