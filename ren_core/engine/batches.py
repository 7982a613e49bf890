"""Work on many images, as many of them at once as memory holds."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

import torch

logger = logging.getLogger(__name__)

Items = TypeVar("Items", bound=Sequence[Any])
Part = TypeVar("Part")


class Limited(Protocol):
    """A model that says how many images its networks see at once.

    Attributes:
        max_batch: So many at most; None: all.
    """

    max_batch: int | None


def in_batches(model: Limited, compute: Callable[[Items], Part], items: Items) -> list[Part]:
    """Results of parts of some items; where memory runs out, the model's batch is halved for good.

    Args:
        model: Gives the largest batch.
        compute: Called with consecutive parts of the items, one after the other.
        items: One for each image.

    Raises:
        torch.OutOfMemoryError: If there is no memory for a single one.
    """
    found: list[Part] = []
    done = 0
    while done < len(items):
        size = min(model.max_batch or len(items), len(items) - done)
        part: Any = items[done : done + size]  # of the same kind, which a slice does not say
        try:
            found.append(compute(part))
            done += size
        except torch.OutOfMemoryError:
            if size == 1:
                raise
            model.max_batch = size // 2
            logger.warning("no memory for %d images at once: %d from now on", size, size // 2)
    return found
