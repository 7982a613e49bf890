"""Ablation: learned queries in place of point prompts, matched to regions as in DETR."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from ren_core.region_encoder import RegionEncoder
from ren_core.stages import atomic_path
from ren_core.training.config import LossConfig, TrainConfig
from ren_core.training.losses import NO_REGION, inner_products
from ren_core.training.objective import Losses, RegionObjective, combine, matching_accuracy
from ren_core.training.samples import RegionBatch

logger = logging.getLogger(__name__)

FORMAT = "ren-learned-queries-1, which takes no point prompts"
UNUSED = "head.prompt_proj."


class LearnedQueryObjective(RegionObjective):
    """The same blocks and losses, but queries are parameters and know nothing of the prompts.

    In every view, the queries are assigned one to one to the regions of its prompts, so that the
    sum of cosines between aligned tokens and pooled features is largest; queries without a region
    count as null prompts.

    Args:
        head: Its prompt projection stays unused.
        config: Weights of the losses.
        count: Number of queries.
    """

    def __init__(self, head: RegionEncoder, config: LossConfig, count: int) -> None:
        super().__init__(head, config)
        self.queries = nn.Parameter(torch.randn(count, head.dim) * 0.02)
        self.places = nn.Parameter(torch.randn(count, head.dim) * 0.02)
        head.prompt_proj.requires_grad_(False)

    def forward(self, batch: RegionBatch) -> Losses:
        """Losses by name; ``"total"`` is their weighted sum."""
        return self._matched(batch)[0]

    @torch.no_grad()
    def evaluate(self, batch: RegionBatch) -> Losses:
        """Losses as in ``forward``, and the ``"accuracy"`` of matching across views."""
        losses, tokens, matched = self._matched(batch)
        return {**losses, "accuracy": matching_accuracy(tokens, matched.region_ids)}

    def export(self, path: Path, metadata: Mapping[str, object]) -> None:
        """Write queries and blocks in float16, in a format that is not that of heads."""
        state = {
            name: tensor.detach().to("cpu", torch.float16).contiguous()
            for name, tensor in self.state_dict().items()
            if not name.startswith(UNUSED)
        }
        about = {"format": FORMAT, "config": json.dumps(dict(metadata), sort_keys=True)}
        with atomic_path(path) as tmp:
            save_file(state, tmp, metadata=about)
        logger.warning("%s holds learned queries: it cannot be used as a region encoder", path)

    def _matched(self, batch: RegionBatch) -> tuple[Losses, Tensor, RegionBatch]:
        tokens, logits = self._tokens(batch.features)
        aligned = self.head.align(tokens)
        matched = match_regions(batch, aligned.detach())
        return combine(matched, tokens, aligned, logits, self.config), tokens, matched

    def _tokens(self, features: Tensor) -> tuple[Tensor, Tensor | None]:
        """Tokens (V, count, D) and the last block's logits."""
        patches = features.flatten(2).transpose(1, 2)
        patches = patches + self.head.position.of_grid(*features.shape[-2:]).to(patches.dtype)
        queries = self.queries.expand(len(features), -1, -1)
        logits = None
        for block in self.head.region_attention_layers:
            keys, values = block.keys_values(patches)  # type: ignore[operator]
            queries, logits = block(
                queries + self.places, keys, values, with_logits=self.with_logits
            )
        return queries, logits


def match_regions(batch: RegionBatch, aligned: Tensor) -> RegionBatch:
    """The batch with one row per query in place of one per prompt: its assigned region.

    Args:
        batch: Its prompts say which regions each view has.
        aligned: (V, M, D) aligned tokens of the queries, without gradient.
    """
    V, M, _ = aligned.shape
    ids = batch.region_ids.new_full((V, M), NO_REGION)
    targets = batch.targets.new_zeros((V, M, batch.targets.shape[-1]))
    coverage = batch.coverage.new_zeros((V, M, batch.coverage.shape[-1]))
    for v in range(V):
        names, prompts = _first_prompts(batch.region_ids[v])
        wanted = F.normalize(batch.targets[v, prompts].float(), dim=-1)
        similarity = inner_products(F.normalize(aligned[v].float(), dim=-1), wanted)
        query, region = linear_sum_assignment(similarity.cpu().numpy(), maximize=True)
        ids[v, query] = names[region]
        targets[v, query] = batch.targets[v, prompts[region]]
        coverage[v, query] = batch.coverage[v, prompts[region]]
    points = batch.points_yx.new_zeros((V, M, 2))
    return replace(batch, points_yx=points, region_ids=ids, targets=targets, coverage=coverage)


def build_objective(head: RegionEncoder, config: TrainConfig) -> RegionObjective:
    """The objective of a training configuration."""
    if config.queries == "learned":
        return LearnedQueryObjective(head, config.loss, config.sampling.count)
    return RegionObjective(head, config.loss)


def _first_prompts(region_ids: Tensor) -> tuple[Tensor, Tensor]:
    """Every region id of one view once, and a prompt (index) that has it."""
    names, inverse = torch.unique(region_ids, return_inverse=True)
    order = torch.argsort(inverse, stable=True)
    starts = torch.cumsum(torch.bincount(inverse), 0) - torch.bincount(inverse)
    prompts = order[starts]
    return names[names >= 0], prompts[names >= 0]
