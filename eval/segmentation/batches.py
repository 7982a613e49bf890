"""Training batches for segmentation heads: fixed views kept in memory, or fresh ones every step."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from eval.segmentation.config import HeadConfig, SegmentationConfig
from eval.segmentation.data import SegmentationSet, resize_labels
from eval.segmentation.head import Batch
from eval.segmentation.predict import Encode
from eval.segmentation.tokens import grid_tokens
from eval.segmentation.views import squashed, training_view
from ren_core.encoders.base import EncoderSpec
from ren_core.images import read_image, to_tensor
from ren_core.model import REN
from ren_core.progress import tqdm


def fixed_views(
    data: SegmentationSet, ren: REN, config: SegmentationConfig, encode: Encode
) -> Batch:
    """Tokens (n, 2, D, h, w) float16 by source and labels (n, 2, R, R): plain, then mirrored."""
    tokens: dict[str, list[Tensor]] = {source: [] for source in config.sources}
    labels = []
    for example in tqdm(data.examples, desc="training images", disable=None):
        image = squashed(read_image(example.image), ren.image_size, config.head)
        features = torch.stack([encode(image), encode(np.ascontiguousarray(image[:, ::-1]))])
        for source, found in tokens.items():
            found.append(grid_tokens(ren, source, features, config.grid_size).half().cpu())
        small = resize_labels(data.read_labels(example), (ren.image_size, ren.image_size))
        labels.append(torch.from_numpy(np.stack([small, small[:, ::-1]])))
    return {source: torch.stack(found) for source, found in tokens.items()}, torch.stack(labels)


def fixed_batches(views: Batch, config: HeadConfig, total: int, seed: int) -> Iterator[Batch]:
    """Shuffle the images every epoch; of each, draw the plain or the mirrored view."""
    tokens, labels = views
    generator = torch.Generator().manual_seed(seed)
    count = len(labels)
    queue = torch.zeros(0, dtype=torch.int64)
    for _ in range(total):
        if len(queue) == 0:
            queue = torch.randperm(count, generator=generator)
        chosen, queue = queue[: config.batch], queue[config.batch :]
        side = (torch.rand(len(chosen), generator=generator) < config.flip).long()
        yield {name: t[chosen, side] for name, t in tokens.items()}, labels[chosen, side]


class TrainingViews(Dataset[tuple[Tensor, Tensor]]):
    """Augmented views (3, R, R) uint8 with labels (R, R); view i depends on seed and i only."""

    def __init__(
        self, data: SegmentationSet, config: HeadConfig, spec: EncoderSpec, *, total: int, seed: int
    ) -> None:
        self.data, self.config, self.spec, self.seed = data, config, spec, seed
        count = len(data.examples)
        rounds = -(-total * config.batch // count)
        rng = np.random.default_rng(seed)
        self.order = np.concatenate([rng.permutation(count) for _ in range(rounds)])
        self.order = self.order[: total * config.batch]

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        example = self.data.examples[self.order[index]]
        rng = np.random.default_rng([self.seed, index])
        image, labels = training_view(
            read_image(example.image), self.data.read_labels(example), self.config, self.spec, rng
        )
        return to_tensor(image), torch.from_numpy(labels)


def augmented_batches(
    data: SegmentationSet, ren: REN, config: SegmentationConfig, *, seed: int, workers: int
) -> Iterator[Batch]:
    """Encode fresh views for every step; the encoder and REN run once for all heads."""
    head = config.head
    total = head.total_steps(len(data.examples))
    views = TrainingViews(data, head, ren.encoder.spec, total=total, seed=seed)
    for images, labels in DataLoader(views, batch_size=head.batch, num_workers=workers):
        features = ren.patch_features(images).features
        yield (
            {s: grid_tokens(ren, s, features, config.grid_size) for s in config.sources},
            labels,
        )
