"""Training checkpoints: everything that a killed run needs to go on to the same weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ren_core.errors import StaleStageError
from ren_core.stages import atomic_path, digest
from ren_core.training.config import TrainConfig

Row = dict[str, float]


@dataclass(frozen=True, slots=True)
class Progress:
    """What is known when a run starts or goes on.

    Attributes:
        step: Optimiser steps done.
        rows: The curves so far, one row per validation.
        seconds: Training time so far.
    """

    step: int
    rows: list[Row]
    seconds: float


def save_checkpoint(
    path: Path,
    module: nn.Module,
    optimiser: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    *,
    config: TrainConfig,
    progress: Progress,
) -> None:
    """Write the state after ``progress.step`` steps, atomically.

    Random states are not needed: every step seeds its own batch, prompts and dropout.
    """
    content = {
        "config": digest(config),
        "module": module.state_dict(),
        "optimiser": optimiser.state_dict(),
        "scaler": scaler.state_dict(),
        "step": progress.step,
        "rows": progress.rows,
        "seconds": progress.seconds,
    }
    with atomic_path(path) as tmp:
        torch.save(content, tmp)


def load_checkpoint(
    path: Path,
    module: nn.Module,
    optimiser: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    *,
    config: TrainConfig,
) -> Progress:
    """Restore a run in place; a missing file is a run that starts.

    Raises:
        StaleStageError: If the checkpoint belongs to another configuration.
    """
    if not path.exists():
        return Progress(0, [], 0.0)
    content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    if content["config"] != digest(config):
        raise StaleStageError(
            f"{path} was written with another training configuration; remove it to start anew or "
            f"choose another --out"
        )
    module.load_state_dict(content["module"])
    optimiser.load_state_dict(content["optimiser"])
    scaler.load_state_dict(content["scaler"])
    return Progress(content["step"], content["rows"], content["seconds"])
