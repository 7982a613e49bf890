"""Learning rate over the steps: linear warm-up, then a cosine that ends at zero."""

from __future__ import annotations

import math

from ren_core.errors import ConfigError


def learning_rate_factor(step: int, warmup: int, total: int) -> float:
    """Share of the peak learning rate at a step in 0..total - 1; 0 exactly at the last one.

    >>> [round(learning_rate_factor(s, 2, 7), 3) for s in range(7)]
    [0.5, 1.0, 1.0, 0.854, 0.5, 0.146, 0.0]

    Raises:
        ConfigError: If the step lies outside the run.
    """
    if not 0 <= step < total or not 0 <= warmup < total:
        raise ConfigError(
            f"need 0 <= step < total and 0 <= warmup < total, got {step=}, {warmup=}, {total=}"
        )
    if step < warmup:
        return (step + 1) / warmup
    last = total - 1
    if step == last:
        return 0.0
    progress = (step - warmup) / (last - warmup)
    return (1 + math.cos(math.pi * progress)) / 2
