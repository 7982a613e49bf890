"""One training job from sources to the file of the head."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from ren_core.encoders.base import PatchEncoder, fingerprint
from ren_core.encoders.catalog import build_encoder
from ren_core.presets import PRESETS
from ren_core.stages import digest, to_plain, write_json
from ren_core.training.batches import BatchSource, CachedBatches, CachedSource
from ren_core.training.checkpoint import Row
from ren_core.training.feature_cache import CacheConfig, build_cache
from ren_core.training.learned_queries import build_objective
from ren_core.training.online import OnlineBatches, OnlineConfig, OnlineSource
from ren_core.training.recipes import Recipe, SourceUse
from ren_core.training.sources import RegionSource, subset
from ren_core.training.start import build_head
from ren_core.training.trainer import DTYPES, Worker, first_alone, train
from ren_core.training.views import ViewConfig

logger = logging.getLogger(__name__)

VALIDATION_BATCHES = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainJob:
    """A recipe on data.

    Attributes:
        recipe: What to train and how.
        sources: Region sources by kind.
        out: Folder of checkpoints and curves.
        target: File of the head.
        cache: Folder of encoded views, which several trainings may share; None: in ``out``.
        workers: Processes that draw views ahead; not for cached views.
        stop_after: End early after so many steps in all.
    """

    recipe: Recipe
    sources: Mapping[str, RegionSource]
    out: Path
    target: Path
    cache: Path | None = None
    workers: int = 0
    stop_after: int | None = None


def run_training(job: TrainJob, worker: Worker) -> float:
    """Make the batches, train, and write the head in float16 with its configuration.

    Returns:
        Seconds of training, those of earlier runs of the same job included.
    """
    config = job.recipe.train
    encoder = build_encoder(job.recipe.encoder).to(worker.device)
    with first_alone(worker):
        batches, held_out = make_batches(job, encoder, worker)
    validation = [held_out.batch(number).to(worker.device) for number in range(VALIDATION_BATCHES)]

    head = build_head(encoder.spec.dim, encoder.spec.grid, config).to(worker.device)
    objective = build_objective(head, config)
    start = {name: tensor.clone() for name, tensor in objective.state_dict().items()}
    rows = train(
        objective,
        batches,
        validation,
        config,
        out=job.out,
        worker=worker,
        identity=run_identity(job, encoder, batches),
        stop_after=job.stop_after,
    )
    if worker.rank == 0:
        write_json(job.out / "recipe.json", job.recipe)
        objective.load_state_dict(blend(objective.state_dict(), start, job.recipe.keep_start))
        objective.export(job.target, _metadata(job, rows))
    return rows[-1]["seconds"] if rows else 0.0


def run_identity(job: TrainJob, encoder: PatchEncoder, batches: BatchSource) -> dict[str, object]:
    """What decides the trained weights besides the training configuration; no paths.

    ``keep_start`` is left out, since it only acts after the training.
    """
    recipe = job.recipe
    cached = batches.sources if isinstance(batches, CachedBatches) else ()
    return {
        "encoder": {
            "name": recipe.encoder,
            "weights": fingerprint([encoder], encoder.spec.input_size),
        },
        "sources": {kind: recipe.sources.get(kind, SourceUse()) for kind in sorted(job.sources)},
        "pictures": {
            kind: digest(
                [
                    source.settings,
                    *(f"{entry.group}/{entry.image.name}" for entry in source.entries),
                ]
            )
            for kind, source in sorted(job.sources.items())
        },
        "held_out_every": recipe.held_out_every,
        "views": [source.cache.directory.name for source in cached],
    }


def blend(
    trained: Mapping[str, Tensor], start: Mapping[str, Tensor], keep_start: float
) -> dict[str, Tensor]:
    """Weights between those before and those after training; 0 keeps the trained ones.

    >>> import torch
    >>> one, two = torch.ones(1), 2 * torch.ones(1)
    >>> blend({"w": one}, {"w": two}, 0.25)["w"].item()
    1.25
    """
    return {name: tensor.lerp(start[name], keep_start) for name, tensor in trained.items()}


def make_batches(
    job: TrainJob, encoder: PatchEncoder, worker: Worker
) -> tuple[BatchSource, BatchSource]:
    """Batches of the training part and of the part held out for validation."""
    config = job.recipe.train
    views = ViewConfig(size=encoder.spec.input_size)
    if job.recipe.cached:
        caches = [_cached_source(job, kind, encoder, views) for kind in sorted(job.sources)]
        return (
            CachedBatches(caches, config.pairs, config.sampling, config.seed),
            CachedBatches(caches, config.pairs, config.sampling, config.seed, held_out=True),
        )
    sources = [_online_source(job, kind) for kind in sorted(job.sources)]
    online = OnlineConfig(
        views=views,
        pairs=config.pairs,
        sampling=config.sampling,
        seed=config.seed,
        workers=job.workers,
        stride=worker.world,
    )
    dtype = DTYPES[config.precision]
    return (
        OnlineBatches(sources, encoder, online, dtype=dtype),
        OnlineBatches(sources, encoder, replace(online, held_out=True, workers=0), dtype=dtype),
    )


def _cached_source(
    job: TrainJob, kind: str, encoder: PatchEncoder, views: ViewConfig
) -> CachedSource:
    use = job.recipe.sources.get(kind, SourceUse())
    config = CacheConfig(
        source=kind,
        encoder=job.recipe.encoder,
        views=views,
        views_per_image=use.views_per_image,
        seed=job.recipe.views_seed,
    )
    cache = build_cache(
        subset(job.sources[kind], use.take_every),
        encoder,
        config,
        out=job.cache or job.out / "cache",
        fingerprint=fingerprint([encoder], encoder.spec.input_size),
        dtype=DTYPES[job.recipe.train.precision],
    )
    return CachedSource(
        cache=cache,
        weight=use.weight,
        cross_frame=use.cross_frame,
        held_out_every=job.recipe.held_out_every,
    )


def _online_source(job: TrainJob, kind: str) -> OnlineSource:
    use = job.recipe.sources.get(kind, SourceUse())
    return OnlineSource(
        regions=subset(job.sources[kind], use.take_every),
        weight=use.weight,
        cross_frame=use.cross_frame,
        held_out_every=job.recipe.held_out_every,
    )


def _metadata(job: TrainJob, rows: list[Row]) -> dict[str, object]:
    """What the head's file says about itself: how to use it, and how it was made."""
    usage = PRESETS.get(job.recipe.encoder)
    used = to_plain(usage) if usage else {}
    return {
        **{k: v for k, v in used.items() if k not in ("head", "type")},
        "encoder": job.recipe.encoder,
        "training": to_plain(job.recipe),
        "pictures": {kind: len(source.entries) for kind, source in job.sources.items()},
        "final": json.loads(json.dumps(rows[-1])) if rows else {},
    }
