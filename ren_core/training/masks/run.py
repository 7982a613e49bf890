"""One training of a mask head, from sources to the file of the head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import torch
from pydantic import Field

from ren_core.configuration import Count, configuration
from ren_core.encoders.base import PatchEncoder, fingerprint
from ren_core.encoders.catalog import build_encoder
from ren_core.mask_head import MaskHead, MaskHeadShape
from ren_core.stages import to_plain, write_json
from ren_core.training.checkpoint import Row
from ren_core.training.config import Optimisation
from ren_core.training.masks.batches import MaskBatches, PromptDraw, WindowUse
from ren_core.training.masks.objective import MaskLossConfig, MaskObjective
from ren_core.training.masks.windows import WindowConfig, build_windows
from ren_core.training.sources import RegionSource
from ren_core.training.trainer import DTYPES, Worker, first_alone, train

VALIDATION_BATCHES = 6


@configuration()
class WindowShare:
    """How much of a source is used.

    Attributes:
        weight: Share of the batches, relative to the other sources that are given.
        per_picture: Windows of every picture.
    """

    weight: Annotated[float, Field(gt=0, le=1000)] = 1.0
    per_picture: Count = 3


@configuration()
class MaskRecipe:
    """What a mask head is trained on and how.

    Attributes:
        encoder: Catalogue name of the frozen encoder; windows have its input size.
        train: Optimisation.
        batch: Windows per step.
        loss: What is minimised.
        draw: How prompts are drawn.
        windows_seed: Of the windows, so that trainings with other seeds share one cache.
        sources: Use of each kind of source; a kind that is not named gets the defaults.
        held_out_every: Every n-th picture of a source is kept for validation.
    """

    encoder: str = "embedded"
    train: Optimisation = field(
        default_factory=lambda: Optimisation(
            steps=4500,
            warmup=100,
            learning_rate=1.5e-3,
            weight_decay=0.02,
            max_grad_norm=1.0,
            validate_every=200,
            checkpoint_every=200,
        )
    )
    batch: Count = 32
    loss: MaskLossConfig = field(default_factory=MaskLossConfig)
    draw: PromptDraw = field(default_factory=PromptDraw)
    windows_seed: Annotated[int, Field(ge=0, lt=2**32)] = 42
    sources: Mapping[str, WindowShare] = field(
        default_factory=lambda: {
            "coco": WindowShare(weight=0.25, per_picture=20),
            "clothing": WindowShare(weight=0.1, per_picture=4),
            "things": WindowShare(weight=0.25, per_picture=6),
            "bsds": WindowShare(weight=0.1, per_picture=4),
            "scenes": WindowShare(weight=0.15, per_picture=3),
            "pasted": WindowShare(weight=0.15, per_picture=4),
        }
    )
    held_out_every: Annotated[int, Field(ge=2, le=10_000)] = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class MaskJob:
    """A recipe on data.

    Attributes:
        recipe: What to train and how.
        sources: Sources of things by kind.
        out: Folder of checkpoints and curves.
        target: File of the head.
        cache: Folder of windows, which several trainings may share; None: in ``out``.
        stop_after: End early after so many steps in all.
    """

    recipe: MaskRecipe
    sources: Mapping[str, RegionSource]
    out: Path
    target: Path
    cache: Path | None = None
    stop_after: int | None = None


def run_mask_training(job: MaskJob, worker: Worker) -> float:
    """Make the windows, train, and write the head with its configuration.

    Returns:
        Seconds of training, those of earlier runs of the same job included.
    """
    recipe, config = job.recipe, job.recipe.train
    encoder = build_encoder(recipe.encoder, for_levels=True).to(worker.device)
    weights = fingerprint([encoder], encoder.spec.input_size)
    with first_alone(worker):
        uses = [_use(job, kind, encoder, weights) for kind in sorted(job.sources)]
    batches = MaskBatches(uses, recipe.batch, recipe.draw, config.seed)
    held_out = replace(batches, held_out=True)
    validation = [held_out.batch(n).to(worker.device) for n in range(VALIDATION_BATCHES)]

    torch.manual_seed(config.seed)
    shape = MaskHeadShape(encoder.level_widths, reference=encoder.spec.dim)
    head = MaskHead(shape).to(worker.device)
    head = head.to(memory_format=torch.channels_last)  # convolutions are faster so
    objective = MaskObjective(head, recipe.loss)
    identity = {
        "recipe": recipe,
        "encoder": weights,
        "windows": [use.cache.directory.name for use in uses],
    }
    rows = train(
        objective,
        batches,
        validation,
        config,
        out=job.out,
        worker=worker,
        identity=identity,
        stop_after=job.stop_after,
    )
    if worker.rank == 0:
        write_json(job.out / "recipe.json", recipe)
        objective.export(job.target, _metadata(job, rows))
    return rows[-1]["seconds"] if rows else 0.0


def _use(job: MaskJob, kind: str, encoder: PatchEncoder, weights: str) -> WindowUse:
    recipe, source = job.recipe, job.sources[kind]
    share = recipe.sources.get(kind, WindowShare())
    config = WindowConfig(
        source=kind,
        encoder=recipe.encoder,
        per_picture=share.per_picture,
        seed=recipe.windows_seed,
    )
    cache = build_windows(
        source,
        encoder,
        config,
        out=job.cache or job.out / "cache",
        fingerprint=weights,
        dtype=DTYPES[recipe.train.precision],
    )
    every = recipe.held_out_every
    return WindowUse(cache, share.weight, frozenset(range(0, len(source.entries), every)))


def _metadata(job: MaskJob, rows: Sequence[Row]) -> dict[str, object]:
    recipe = to_plain(job.recipe)
    assert isinstance(recipe, dict)
    measured = {k: round(v, 4) for k, v in rows[-1].items() if k != "seconds"} if rows else {}
    return {
        "encoder": job.recipe.encoder,
        "recipe": recipe,
        "pictures": {kind: len(source.entries) for kind, source in sorted(job.sources.items())},
        "last_row": measured,
    }
