"""The training loop: one process or several under torchrun, resumable at any step."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ren_core.engine.choice import autocast
from ren_core.progress import tqdm
from ren_core.schedule import learning_rate_factor
from ren_core.training.batches import Batch, BatchSource
from ren_core.training.checkpoint import Progress, Row, load_checkpoint, save_checkpoint
from ren_core.training.config import Optimisation
from ren_core.training.curves import CurveFiles
from ren_core.training.objective import Objective

logger = logging.getLogger(__name__)

PATIENCE = timedelta(hours=12)
"""How long processes wait for each other: as long as one may take to cache features."""
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True, slots=True)
class Worker:
    """This process among those of a run.

    Attributes:
        device: Where it computes.
        rank: Its number; 0 writes the files.
        world: Number of processes.
    """

    device: torch.device
    rank: int = 0
    world: int = 1


def train(
    objective: Objective,
    batches: BatchSource,
    validation: Sequence[Batch],
    config: Optimisation,
    *,
    out: Path,
    worker: Worker,
    identity: Mapping[str, object] | None = None,
    stop_after: int | None = None,
) -> list[Row]:
    """Train a head in place, or go on where a killed run left off.

    Args:
        objective: The head with its losses, on ``worker.device``.
        batches: Batch n of the whole run; each process and accumulation step takes its own.
        validation: Fixed batches, seen in evaluation mode.
        config: The run.
        out: Folder for ``checkpoint.pt``, ``curves.csv``, ``curves.png``; of all processes alike.
        worker: This process.
        identity: What else decides the weights, such as the data; in JSON types or dataclasses.
        stop_after: End early after this many steps in all, with a checkpoint; for tests and
            for sharing a machine.

    Returns:
        The curves, one row per validation.

    Raises:
        StaleStageError: If ``out`` holds the checkpoint of another run.
    """
    run = _Run(objective, batches, config, worker)
    path, curves = out / "checkpoint.pt", CurveFiles(out)
    identity = {"train": config, "processes": worker.world, **(identity or {})}
    progress = load_checkpoint(path, objective, run.optimiser, run.scaler, identity=identity)
    last = min(config.steps, stop_after or config.steps)
    logger.info("training: %d of %d steps done, in %s", progress.step, config.steps, out)

    rows, started = list(progress.rows), time.monotonic() - progress.seconds
    sums, count = progress.sums, progress.count
    steps = tqdm(
        range(progress.step, last),
        desc="training",
        initial=progress.step,
        total=last,
        disable=None if worker.rank == 0 else True,
    )
    for step in steps:
        losses = run.step(step)
        sums = {name: sums.get(name, 0.0) + value for name, value in losses.items()}
        done, count = step + 1, count + 1
        if done % config.validate_every == 0 or done == config.steps:
            row = {"step": float(done), "seconds": time.monotonic() - started}
            row |= {f"train/{k}": v / count for k, v in sums.items()}
            row |= {f"val/{k}": v for k, v in validate(objective, validation, config).items()}
            rows, sums, count = [*rows, row], {}, 0
            logger.info("%s", {name: round(value, 4) for name, value in row.items()})
        if worker.rank == 0 and (done % config.checkpoint_every == 0 or done == last):
            now = Progress(done, rows, time.monotonic() - started, sums, count)
            save_checkpoint(
                path, objective, run.optimiser, run.scaler, identity=identity, progress=now
            )
            curves.update(rows)
    if worker.rank == 0:
        curves.update(rows)
    logger.info("training: %.0f s", time.monotonic() - started)
    return rows


@torch.no_grad()
def validate(
    objective: Objective, batches: Sequence[Batch], config: Optimisation
) -> dict[str, float]:
    """Mean losses and measures over fixed batches in evaluation mode."""
    device = next(objective.parameters()).device
    was_training = objective.training
    objective.eval()
    sums: dict[str, float] = {}
    for batch in batches:
        with autocast(device, DTYPES[config.precision]):
            losses = objective.evaluate(batch)
        for name, value in losses.items():
            sums[name] = sums.get(name, 0.0) + float(value) / len(batches)
    objective.train(was_training)
    return sums


class _Run:
    """Optimiser, scaler and the (perhaps distributed) module of one process."""

    def __init__(
        self,
        objective: Objective,
        batches: BatchSource,
        config: Optimisation,
        worker: Worker,
    ) -> None:
        self.batches, self.config, self.worker = batches, config, worker
        self.parameters = [p for p in objective.parameters() if p.requires_grad]
        self.optimiser = torch.optim.AdamW(
            self.parameters, lr=config.learning_rate, weight_decay=config.weight_decay
        )
        self.scaler = torch.amp.GradScaler(worker.device.type, enabled=config.precision == "fp16")
        self.module: nn.Module = objective.train()
        if worker.world > 1:
            self.module = DistributedDataParallel(objective)

    def step(self, step: int) -> dict[str, float]:
        """One optimiser step; the losses averaged over its forward passes."""
        config = self.config
        factor = learning_rate_factor(step, config.warmup, config.steps)
        for group in self.optimiser.param_groups:
            group["lr"] = config.learning_rate * factor
        self.optimiser.zero_grad(set_to_none=True)
        sums: dict[str, Tensor] = {}
        for part in range(config.accumulation):
            last = part == config.accumulation - 1
            for name, loss in self._forward_backward(step, part, synchronise=last).items():
                sums[name] = sums.get(name, 0.0) + loss.detach() / config.accumulation
        self.scaler.unscale_(self.optimiser)
        sums["gradient"] = nn.utils.clip_grad_norm_(self.parameters, config.max_grad_norm)
        self.scaler.step(self.optimiser)
        self.scaler.update()
        return {name: float(value) for name, value in sums.items()}

    def _forward_backward(self, step: int, part: int, *, synchronise: bool) -> dict[str, Tensor]:
        config, worker = self.config, self.worker
        number = (step * config.accumulation + part) * worker.world + worker.rank
        batch = self.batches.batch(number).to(worker.device)
        torch.manual_seed(config.seed * 1_000_003 + number)  # dropout
        hold = (
            self.module.no_sync()
            if isinstance(self.module, DistributedDataParallel) and not synchronise
            else contextlib.nullcontext()
        )
        with hold:
            with autocast(worker.device, DTYPES[config.precision]):
                losses: dict[str, Tensor] = self.module(batch)
            self.scaler.scale(losses["total"] / config.accumulation).backward()
        return losses


def start_worker(device: str) -> Worker:
    """This process; under torchrun it joins the others, one GPU each."""
    if not dist.is_torchelastic_launched():
        return Worker(torch.device(device))
    on_gpu = device.startswith("cuda")
    dist.init_process_group("nccl" if on_gpu else "gloo", timeout=PATIENCE)
    rank, world = dist.get_rank(), dist.get_world_size()
    if not on_gpu:
        return Worker(torch.device(device), rank, world)
    own = torch.device("cuda", dist.get_node_local_rank())
    torch.cuda.set_device(own)
    return Worker(own, rank, world)


@contextlib.contextmanager
def first_alone(worker: Worker) -> Iterator[None]:
    """Let process 0 run a block before all others, which then find the files that it has made."""
    if worker.rank > 0:
        dist.barrier()
    yield
    if worker.rank == 0 and worker.world > 1:
        dist.barrier()
