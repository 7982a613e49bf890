"""Work in this process, item by item, in the order given."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Generic

from ren_core.executor.base import Build, Done, Item, Pool, Progress, R, T, Worker


@dataclass(frozen=True, slots=True)
class InProcess(Generic[T, R]):
    """A pool of one worker, which is this process."""

    worker: Worker[T, R]

    @property
    def identity(self) -> Mapping[str, str]:
        """That of the worker."""
        return self.worker.identity

    def map(self, items: Sequence[Item[T]], on_progress: Progress) -> Iterator[Done[T, R]]:
        """Do all items in order; what the worker raises is raised here."""
        for item in items:
            yield Done(item, self.worker(item.load, on_progress))


@dataclass(frozen=True, slots=True)
class Here:
    """The executor that needs nothing."""

    @contextmanager
    def open(
        self, build: Build[T, R], *, shared: Path, expected: Mapping[str, str]
    ) -> Iterator[Pool[T, R]]:
        """Build the worker in this process, which sees and runs what it sees and runs."""
        del shared, expected
        yield InProcess(build())
