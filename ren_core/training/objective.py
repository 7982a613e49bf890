"""From a batch of views to the losses, as one module that several GPUs can share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ren_core.checkpoints import save_region_encoder
from ren_core.region_encoder import RegionEncoder, RegionEncoderOutput
from ren_core.training.config import LossConfig
from ren_core.training.losses import (
    attention_supervision,
    feature_similarity,
    info_nce,
    inner_products,
    precise,
    relation_similarity,
)
from ren_core.training.samples import RegionBatch
from ren_core.training.start import head_blocks

Losses = dict[str, Tensor]


class Objective(nn.Module, ABC):
    """A network and what it is trained for."""

    @abstractmethod
    def forward(self, batch: Any) -> Losses:  # noqa: ANN401 - each objective has its own batches
        """Losses by name; ``"total"`` is their weighted sum."""

    @abstractmethod
    def evaluate(self, batch: Any) -> Losses:  # noqa: ANN401
        """Losses and measures of a batch, without gradients."""


class RegionObjective(Objective):
    """A head and what it is trained for.

    Args:
        head: The head; trained in place. Parameters that no loss reaches are frozen, since several
            GPUs would wait for their gradients.
        config: Weights of the losses; a loss of weight 0 is not computed.
        manual_attention: Compute attention as two matrix products; on CPUs with bfloat16 units
            this trains faster than the fused kernel.
    """

    def __init__(
        self, head: RegionEncoder, config: LossConfig, *, manual_attention: bool = False
    ) -> None:
        super().__init__()
        self.head = head
        self.config = config
        self.with_logits = manual_attention or config.attention > 0
        self._freeze_unreached()

    def forward(self, batch: RegionBatch) -> Losses:
        """Losses by name; ``"total"`` is their weighted sum."""
        output = self._encode(batch)
        return self._losses(batch, output)

    @torch.no_grad()
    def evaluate(self, batch: RegionBatch) -> Losses:
        """Losses as in ``forward``, and the ``"accuracy"`` of matching across views."""
        output = self._encode(batch)
        accuracy = matching_accuracy(output.ren_tokens, batch.region_ids)
        return {**self._losses(batch, output), "accuracy": accuracy}

    def export(self, path: Path, metadata: Mapping[str, object]) -> None:
        """Write the head in float16, with what it says about itself."""
        save_region_encoder(path, self.head, metadata, dtype=torch.float16)

    def _freeze_unreached(self) -> None:
        config, unreached = self.config, []
        if not (config.feature or config.relation):  # nothing reads aligned tokens
            unreached += [self.head.out_norm, self.head.out_proj]
            if not config.contrast:  # nor tokens: the last block ends at its attention
                last = head_blocks(self.head)[-1]
                unreached += [last.cross_attn.out_proj, last.mlp_norm, last.mlp, last.out_norm]
        for module in unreached:
            module.requires_grad_(False)

    def _encode(self, batch: RegionBatch) -> RegionEncoderOutput:
        output: RegionEncoderOutput = self.head(
            batch.features, batch.points_yx, batch.image_size, with_attention=self.with_logits
        )
        return output

    def _losses(self, batch: RegionBatch, output: RegionEncoderOutput) -> Losses:
        logits = output.attention_logits[-1] if self.with_logits else None
        return combine(batch, output.ren_tokens, output.aligned_tokens, logits, self.config)


def combine(
    batch: RegionBatch,
    ren_tokens: Tensor,
    aligned_tokens: Tensor,
    logits: Tensor | None,
    config: LossConfig,
) -> Losses:
    """Weighted losses of tokens (V, N, D) whose regions are those of the batch."""
    losses: Losses = {}
    if config.contrast:
        losses["contrast"] = _contrast(ren_tokens, batch.region_ids, config)
    if config.feature:
        losses["feature"] = feature_similarity(aligned_tokens, batch.targets, batch.valid)
    if config.relation:
        losses["relation"] = _relation(batch, aligned_tokens)
    if config.attention and logits is not None:
        losses["attention"] = attention_supervision(logits, batch.coverage, batch.valid)
    total = sum(
        (getattr(config, name) * loss for name, loss in losses.items()), ren_tokens.new_zeros(())
    )
    return {**losses, "total": total}


@torch.no_grad()
def matching_accuracy(ren_tokens: Tensor, region_ids: Tensor) -> Tensor:
    """How often the most similar token of all other views shows the same region.

    Args:
        ren_tokens: (V, N, D).
        region_ids: (V, N); negative: no region.

    Returns:
        Share of the tokens whose region another view shows too; NaN if there is none.
    """
    V, N = region_ids.shape
    unit = nn.functional.normalize(precise(ren_tokens), dim=-1).flatten(0, 1)
    ids = region_ids.flatten()
    view = torch.arange(V, device=ids.device).repeat_interleave(N)
    allowed = (view[:, None] != view[None, :]) & (ids >= 0)[None, :]
    nearest = inner_products(unit, unit).masked_fill(~allowed, -torch.inf).argmax(dim=1)
    answerable = ((ids[:, None] == ids[None, :]) & allowed).any(dim=1) & (ids >= 0)
    return (ids[nearest] == ids)[answerable].float().mean()


def _contrast(ren_tokens: Tensor, region_ids: Tensor, config: LossConfig) -> Tensor:
    """InfoNCE over the batch, or the mean of one per pair of views."""
    ids = region_ids
    if config.keep_null:  # one null region per view: -1, -2, ...
        view = torch.arange(len(ids), device=ids.device)[:, None]
        ids = torch.where(ids < 0, -1 - view, ids)
    if config.scope == "batch":
        return info_nce(
            ren_tokens.flatten(0, 1),
            ids.flatten(),
            config.temperature,
            keep_null=config.keep_null,
        )
    pairs = [
        info_nce(
            ren_tokens[i : i + 2].flatten(0, 1),
            ids[i : i + 2].flatten(),
            config.temperature,
            keep_null=config.keep_null,
        )
        for i in range(0, len(ids), 2)
    ]
    return torch.stack(pairs).mean()


def _relation(batch: RegionBatch, aligned: Tensor) -> Tensor:
    """Cross-view relation between the first views of all pairs and the second ones."""
    first, second = slice(0, None, 2), slice(1, None, 2)
    return relation_similarity(
        (aligned[first].flatten(0, 1), aligned[second].flatten(0, 1)),
        (batch.targets[first].flatten(0, 1), batch.targets[second].flatten(0, 1)),
        torch.stack([batch.valid[first].flatten(), batch.valid[second].flatten()]),
    )
