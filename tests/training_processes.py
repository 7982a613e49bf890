"""One of several training processes, started as torchrun starts them; run by a test.

    python -m tests.training_processes OUT PICTURES

Trains a tiny head under several losses, whole and cut in two, then runs a complete job on pictures,
and writes to OUT/<rank>.json what the test compares.
"""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from ren_core.training import run as run_module
from ren_core.training.batches import BatchSource
from ren_core.training.config import LossConfig, TrainConfig
from ren_core.training.recipes import recipe
from ren_core.training.run import TrainJob, run_training
from ren_core.training.samples import PromptSampling, RegionBatch
from ren_core.training.trainer import Worker, start_worker, train
from tests.tiny import SPEC, TinyEncoder
from tests.training_cases import new_objective, quarters_source

GRID = SPEC.input_size // SPEC.patch_size  # SPEC has the grid and width of ``new_objective``
CONFIG = TrainConfig(
    steps=4,
    warmup=1,
    pairs=2,
    precision="fp32",
    num_heads=2,
    num_layers=2,
    sampling=PromptSampling(count=12),
)
STEADY = replace(CONFIG, dropout=0.0, max_grad_norm=1e9)
"""Without dropout and clipping."""
LOSSES = {
    "both": LossConfig(),
    "contrast only": LossConfig(feature=0),
    "feature only": LossConfig(contrast=0),
    "attention only": LossConfig(contrast=0, feature=0, attention=1),
}


class RandomBatches:
    """Random views whose prompts belong to random regions."""

    def batch(self, number: int) -> RegionBatch:
        """The batch of any number."""
        generator = torch.Generator().manual_seed(number)
        V, N = 2 * CONFIG.pairs, CONFIG.sampling.count
        return RegionBatch(
            torch.randn(V, SPEC.dim, GRID, GRID, generator=generator),
            torch.randint(0, SPEC.input_size, (V, N, 2), generator=generator),
            torch.randint(-1, 4, (V, N), generator=generator),
            torch.randn(V, N, SPEC.dim, generator=generator),
            torch.rand(V, N, GRID**2, generator=generator),
            SPEC.input_size,
        )


def configurations() -> dict[str, TrainConfig]:
    """What is trained, by name."""
    trained = {name: replace(CONFIG, loss=loss) for name, loss in LOSSES.items()}
    accumulated = replace(trained["contrast only"], accumulation=2)
    learned = replace(trained["contrast only"], queries="learned")
    return {**trained, "accumulated": accumulated, "learned queries": learned}


def train_one(
    config: TrainConfig,
    out: Path,
    worker: Worker,
    *,
    batches: BatchSource | None = None,
    **options: object,
) -> nn.Module:
    """A new head, trained from the state in ``out``; options as for ``train``."""
    objective = new_objective(config)
    train(objective, batches or RandomBatches(), [], config, out=out, worker=worker, **options)
    return objective


def weights_digest(module: nn.Module) -> str:
    """Equal for equal weights."""
    hasher = hashlib.sha256()
    for tensor in module.state_dict().values():
        hasher.update(tensor.numpy().tobytes())
    return hasher.hexdigest()


class CountingEncoder(TinyEncoder):
    """Counts the pictures that it encodes."""

    pictures = 0

    def encode(self, images):
        """Patch features; counted."""
        CountingEncoder.pictures += len(images)
        return super().encode(images)


def run_job(out: Path, pictures: Path, worker: Worker) -> None:
    """A complete job; processes share the cache, and each has a folder of its own to write to."""
    run_module.build_encoder = lambda name: CountingEncoder()
    job = TrainJob(
        recipe=replace(recipe("embedded"), train=replace(CONFIG, start="local"), held_out_every=6),
        sources={"pictures": quarters_source(pictures)},
        out=out / f"job-{worker.rank}",
        target=out / f"job-{worker.rank}" / "head.safetensors",
        cache=out / "cache",
    )
    run_training(job, worker)


def main(out: Path, pictures: Path) -> None:
    """Do all of it."""
    torch.set_num_threads(1)
    worker = start_worker("cpu")
    digests = {}
    for name, config in configurations().items():
        whole = train_one(config, out / name / "whole", worker)
        train_one(config, out / name / "cut", worker, stop_after=2)
        resumed = train_one(config, out / name / "cut", worker)
        digests[name] = [weights_digest(whole), weights_digest(resumed)]
        torch.save(whole.state_dict(), out / f"{name}-{worker.rank}.pt")
    run_job(out, pictures, worker)
    report = {"world": worker.world, "digests": digests, "encoded": CountingEncoder.pictures}
    (out / f"{worker.rank}.json").write_text(json.dumps(report))
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
