"""Semantic segmentation with a linear head on patches and on REN tokens, compared like for like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from eval.segmentation.batches import augmented_batches, fixed_batches, fixed_views
from eval.segmentation.config import Method, SegmentationConfig
from eval.segmentation.confusion import (
    Counts,
    Labels,
    class_iou,
    confusion,
    mean_iou,
    pixel_accuracy,
)
from eval.segmentation.data import SegmentationSet, resize_labels
from eval.segmentation.head import train_heads
from eval.segmentation.predict import Encode, Heads, predict
from ren_core.images import read_image
from ren_core.model import REN
from ren_core.progress import tqdm


@dataclass(frozen=True, slots=True)
class Score:
    """Confusion of one method and seed over a split.

    Attributes:
        method: What was scored.
        seed: Of the head's training.
        at_model: Pixel counts (C, C) at the encoder's square size.
        at_original: The same at the size of each image.
        tokens: Distinct tokens per image, mean.
    """

    method: Method
    seed: int
    at_model: Counts
    at_original: Counts
    tokens: float

    def row(self, classes: Sequence[str]) -> dict[str, object]:
        """The figures, for a result file."""
        names = zip(classes, class_iou(self.at_original), strict=True)
        return {
            "method": self.method.name,
            "seed": self.seed,
            "mIoU": mean_iou(self.at_original),
            "mIoU at model resolution": mean_iou(self.at_model),
            "pixel accuracy": pixel_accuracy(self.at_original),
            "tokens": self.tokens,
            "IoU": {name: float(iou) for name, iou in names},
        }


def train(
    data: SegmentationSet,
    ren: REN,
    config: SegmentationConfig,
    encode: Encode,
    *,
    workers: int = 0,
) -> dict[int, Heads]:
    """Train the heads of every seed.

    Args:
        data: Training split.
        ren: The model.
        config: What to train.
        encode: Used where nothing is augmented: every image and its mirror image, once.
        workers: Processes that prepare augmented images.
    """
    head = config.head
    total = head.total_steps(len(data.examples))
    fixed = fixed_views(data, ren, config, encode) if head.augmentation == "none" else None
    trained: dict[int, Heads] = {}
    for seed in config.seeds:
        batches = (
            augmented_batches(data, ren, config, seed=seed, workers=workers)
            if fixed is None
            else fixed_batches(fixed, head, total, seed)
        )
        trained[seed] = train_heads(
            tqdm(batches, total=total, desc=f"heads, seed {seed}", disable=None),
            dict.fromkeys(config.sources, ren.encoder.spec.dim),
            head,
            num_classes=len(data.classes),
            total=total,
            device=ren.device,
            seed=seed,
        )
    return trained


def evaluate(
    data: SegmentationSet,
    ren: REN,
    config: SegmentationConfig,
    heads: Mapping[int, Heads],
    encode: Encode,
) -> list[Score]:
    """Score every method with the heads of every seed; each image is encoded once."""
    C, R = len(data.classes), ren.image_size
    cells = [(method, seed) for method in config.methods for seed in heads]
    counts = np.zeros((len(cells), 2, C, C), np.int64)
    distinct = np.zeros(len(cells))
    for example in tqdm(data.examples, desc=f"{data.name} {data.split}", disable=None):
        truth = data.read_labels(example)
        square_truth = resize_labels(truth, (R, R))
        found = predict(read_image(example.image), ren, config, heads, encode)
        for i, (prediction, tokens) in enumerate(found):
            counts[i, 0] += confusion(square_truth, prediction.classes((R, R)), C)
            counts[i, 1] += confusion(truth, prediction.classes(_size(truth)), C)
            distinct[i] += tokens
    return [
        Score(method, seed, counts[i, 0], counts[i, 1], float(distinct[i]) / len(data.examples))
        for i, (method, seed) in enumerate(cells)
    ]


def _size(labels: Labels) -> tuple[int, int]:
    return labels.shape[0], labels.shape[1]
