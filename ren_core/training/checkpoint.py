"""Training checkpoints: all that a killed run needs to reach the same weights in the end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ren_core.errors import StaleStageError
from ren_core.stages import atomic_path, to_plain

Row = dict[str, float]
SHOWN = 3
"""Differences that an error message spells out."""
MISSING = object()
"""Stands for a setting that one of two configurations lacks."""


@dataclass(frozen=True, slots=True)
class Progress:
    """What is known when a run starts or goes on.

    Attributes:
        step: Optimiser steps done.
        rows: The curves so far, one row per validation.
        seconds: Training time so far.
        sums: Training losses since the last row, added up.
        count: Steps since the last row.
    """

    step: int = 0
    rows: list[Row] = field(default_factory=list)
    seconds: float = 0.0
    sums: Row = field(default_factory=dict)
    count: int = 0


def save_checkpoint(
    path: Path,
    module: nn.Module,
    optimiser: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    *,
    identity: Mapping[str, object],
    progress: Progress,
) -> None:
    """Write the state after ``progress.step`` steps, atomically.

    Random states are not needed: every step seeds its own batch, prompts and dropout.

    Args:
        path: Of the checkpoint.
        module: What is trained.
        optimiser: Its optimiser.
        scaler: Of the gradients.
        identity: All that decides the weights; compared when the run goes on.
        progress: How far it is.
    """
    content = {
        "identity": to_plain(dict(identity)),
        "module": module.state_dict(),
        "optimiser": optimiser.state_dict(),
        "scaler": scaler.state_dict(),
        "step": progress.step,
        "rows": progress.rows,
        "seconds": progress.seconds,
        "sums": progress.sums,
        "count": progress.count,
    }
    with atomic_path(path) as tmp:
        torch.save(content, tmp)


def load_checkpoint(
    path: Path,
    module: nn.Module,
    optimiser: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    *,
    identity: Mapping[str, object],
) -> Progress:
    """Restore a run in place; without a file the run begins at step 0.

    Raises:
        StaleStageError: If the checkpoint belongs to another run; the message says what differs.
    """
    if not path.exists():
        return Progress()
    content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    changed = differences(content.get("identity", {}), to_plain(dict(identity)))
    if changed:
        more = f" and {len(changed) - SHOWN} more" if len(changed) > SHOWN else ""
        raise StaleStageError(
            f"{path} was written with another training configuration "
            f"({', '.join(changed[:SHOWN])}{more}); remove it to start anew or choose another --out"
        )
    module.load_state_dict(content["module"])
    optimiser.load_state_dict(content["optimiser"])
    scaler.load_state_dict(content["scaler"])
    return Progress(
        content["step"], content["rows"], content["seconds"], content["sums"], content["count"]
    )


def differences(old: object, new: object, name: str = "") -> list[str]:
    """Where two configurations of JSON types differ.

    >>> differences({"a": {"b": 1, "c": 2}}, {"a": {"b": 3, "c": 2}, "d": [4]})
    ['a.b was 1, is 3', 'd was missing, is [4]']
    """
    if isinstance(old, dict) and isinstance(new, dict):
        return [
            line
            for key in dict.fromkeys([*old, *new])
            for line in differences(
                old.get(key, MISSING), new.get(key, MISSING), f"{name}.{key}".lstrip(".")
            )
        ]
    return [] if old == new else [f"{name} was {_shown(old)}, is {_shown(new)}"]


def _shown(value: object) -> str:
    return "missing" if value is MISSING else repr(value)
