"""From a batch of windows to the losses of a mask head."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from ren_core.configuration import configuration
from ren_core.mask_head import MaskHead, MaskOutput, save_mask_head
from ren_core.training.masks.batches import MaskBatch
from ren_core.training.objective import Losses, Objective

_Weight = Annotated[float, Field(ge=0, le=100)]


@configuration()
class MaskLossConfig:
    """Weights of the losses.

    Attributes:
        focal: Of the focal loss of the best mask.
        dice: Of its dice loss.
        iou: Of the expected IoU of all masks.
        others: Share of both losses of the mean mask that is added, so that none is left behind.
        gamma: Of the focal loss; 0 is cross-entropy.
    """

    focal: _Weight = 4.0
    dice: _Weight = 1.0
    iou: _Weight = 1.0
    others: _Weight = 0.05
    gamma: _Weight = 1.0


class MaskObjective(Objective):
    """A mask head and what it is trained for."""

    def __init__(self, head: MaskHead, config: MaskLossConfig) -> None:
        super().__init__()
        self.head = head
        self.config = config

    def forward(self, batch: MaskBatch) -> Losses:
        """Losses by name; ``"total"`` is their weighted sum."""
        return self._losses(batch, self.head(batch.levels, batch.maps, batch.reference))

    @torch.no_grad()
    def evaluate(self, batch: MaskBatch) -> Losses:
        """Losses as in ``forward``, and the true IoU of the mask expected to be best."""
        output: MaskOutput = self.head(batch.levels, batch.maps, batch.reference)
        iou = mask_iou(output.logits, batch.shares)
        expected = output.iou_logits.float().sigmoid()
        chosen = expected.argmax(dim=1, keepdim=True)
        return {
            **self._losses(batch, output),
            "chosen": iou.gather(1, chosen).mean(),
            "best": iou.amax(dim=1).mean(),
            "error": (iou - expected).gather(1, chosen).abs().mean(),
        }

    def export(self, path: Path, metadata: Mapping[str, object]) -> None:
        """Write the head in float16, with what it says about itself."""
        save_mask_head(path, self.head, metadata)

    def _losses(self, batch: MaskBatch, output: MaskOutput) -> Losses:
        config, logits = self.config, output.logits.float()
        truth = batch.shares[:, None].expand_as(logits)
        focal = _focal(logits, truth, config.gamma)
        dice = _dice(logits, truth)
        each = config.focal * focal + config.dice * dice  # (B, 3)
        best = each.argmin(dim=1, keepdim=True)
        iou = mask_iou(logits, batch.shares)
        expected = F.mse_loss(output.iou_logits.float().sigmoid(), iou)
        losses = {
            "focal": focal.gather(1, best).mean(),
            "dice": dice.gather(1, best).mean(),
            "iou": expected,
        }
        drawn = each.gather(1, best).mean() + config.others * each.mean()
        return {**losses, "total": drawn + config.iou * expected}


def _focal(logits: Tensor, truth: Tensor, gamma: float) -> Tensor:
    """(B, 3) means over cells; the truth (B, 3, S, S) may lie between 0 and 1."""
    entropy = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    wrong = (logits.detach().sigmoid() - truth).abs()
    return (entropy * wrong**gamma).mean(dim=(2, 3)) * (1 + gamma)


def _dice(logits: Tensor, truth: Tensor) -> Tensor:
    drawn = logits.sigmoid()
    both = (drawn * truth).sum(dim=(2, 3))
    return 1 - (2 * both + 1) / (drawn.sum(dim=(2, 3)) + truth.sum(dim=(2, 3)) + 1)


@torch.no_grad()
def mask_iou(logits: Tensor, shares: Tensor) -> Tensor:
    """IoU (B, 3) of drawn masks (B, 3, S, S) with things (B, S, S), both cut at one half."""
    drawn, true = logits > 0, (shares >= 0.5)[:, None]
    both = (drawn & true).sum(dim=(2, 3)).float()
    return both / (drawn | true).sum(dim=(2, 3)).clamp(min=1)
