"""The linear segmentation head, and how it is trained."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eval.segmentation.config import HeadConfig
from eval.segmentation.confusion import VOID

Batch = tuple[Mapping[str, Tensor], Tensor]
"""Tokens (B, D, h, w) by source, and labels (B, R, R) uint8."""


class SegmentationHead(nn.Module):
    """Batch normalisation and a 1x1 convolution: the same for patches and region tokens."""

    def __init__(self, dim: int, num_classes: int, config: HeadConfig) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(dim)
        self.dropout = nn.Dropout2d(config.dropout)
        self.classify = nn.Conv2d(dim, num_classes, 1)
        if config.normal_init is None:
            nn.init.kaiming_normal_(self.classify.weight)
        else:
            nn.init.normal_(self.classify.weight, std=config.normal_init)
        nn.init.zeros_(self.classify.bias)  # type: ignore[arg-type]

    def forward(self, tokens: Tensor) -> Tensor:
        """Class scores (B, C, h, w) of tokens (B, D, h, w)."""
        return self.classify(self.dropout(self.norm(tokens)))


def pixel_loss(scores: Tensor, labels: Tensor, stride: int = 1) -> Tensor:
    """Cross-entropy of enlarged scores, mean over the pixels that have a class.

    Args:
        scores: (B, C, h, w).
        labels: (B, R, R) uint8; void pixels do not count, and if all are void the loss is 0.
        stride: Look at R / stride pixels per side.
    """
    seen = labels[:, stride // 2 :: stride, stride // 2 :: stride].long()
    large = F.interpolate(scores, seen.shape[-2:], mode="bilinear", align_corners=False)
    total = F.cross_entropy(large, seen, ignore_index=VOID, reduction="sum")
    return total / (seen != VOID).sum().clamp(min=1)


def train_heads(
    batches: Iterable[Batch],
    sources: Mapping[str, int],
    config: HeadConfig,
    *,
    num_classes: int,
    total: int,
    device: torch.device,
    seed: int,
) -> dict[str, SegmentationHead]:
    """Train one head per source of tokens on the same batches.

    Args:
        batches: ``total`` of them.
        sources: Width D of the tokens of every source.
        config: The recipe.
        num_classes: C.
        total: Steps.
        device: Where the heads run.
        seed: Of the first weights and the dropout.

    Returns:
        The heads of the last step, in evaluation mode.
    """
    heads: dict[str, SegmentationHead] = {}
    optimisers = {}
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        for source, dim in sources.items():
            torch.manual_seed(seed)  # every source starts from the same draw
            heads[source] = SegmentationHead(dim, num_classes, config).to(device)
            optimisers[source] = torch.optim.AdamW(
                heads[source].parameters(), config.learning_rate, weight_decay=config.weight_decay
            )
        for step, (tokens, labels) in enumerate(batches):
            labels = labels.to(device)
            for source, head in heads.items():
                for group in optimisers[source].param_groups:
                    group["lr"] = config.learning_rate * config.rate_factor(step, total)
                scores = head(tokens[source].to(device).float())
                loss = pixel_loss(scores, labels, config.label_stride)
                optimisers[source].zero_grad(set_to_none=True)
                loss.backward()
                optimisers[source].step()
    return {source: head.eval() for source, head in heads.items()}
