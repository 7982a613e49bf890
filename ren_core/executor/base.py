"""Many items of work, one after the other or many at a time, by workers that hold loaded models.

The work itself has one code path: a worker is built once and called with one item at a time. What
it makes lies on disk, complete or not at all; what it returns is small, such as counts and reasons.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

T = TypeVar("T")
R = TypeVar("R")
T_contra = TypeVar("T_contra", contravariant=True)
R_co = TypeVar("R_co", covariant=True)

Progress = Callable[[str, int], object]
"""Is told how many more of what are done, such as ``("frames", 20)``."""


@dataclass(frozen=True, slots=True)
class Item(Generic[T]):
    """A piece of work.

    Attributes:
        name: For log lines and messages, unique among the items of a call.
        size: How long it takes, in any unit; the largest are begun first where many are at work.
        load: What the worker is given; small.
    """

    name: str
    size: int
    load: T


@dataclass(frozen=True, slots=True)
class Done(Generic[T, R]):
    """An item that will not be asked again.

    Attributes:
        item: The item.
        result: What the worker returned; None if it was lost.
        lost: Why there is no result, one sentence; empty if there is one.
    """

    item: Item[T]
    result: R | None
    lost: str = ""


class Worker(Protocol[T_contra, R_co]):
    """Does one item at a time; exceptions end the whole work, so it catches what costs one item."""

    @property
    def identity(self) -> Mapping[str, str]:
        """What all workers must agree on, such as digests of code and weights, by its name."""
        ...

    def __call__(self, load: T_contra, on_progress: Progress, /) -> R_co:
        """Do an item."""
        ...


Build = Callable[[], Worker[T, R]]
"""Builds a worker: loads its models. For a cluster it must be picklable, and small."""


class Pool(Protocol[T, R]):
    """Workers that are ready."""

    @property
    def identity(self) -> Mapping[str, str]:
        """That of every worker."""
        ...

    def map(self, items: Sequence[Item[T]], on_progress: Progress) -> Iterator[Done[T, R]]:
        """Do all items; each is given back as soon as it is done.

        Raises:
            Exception: What a worker raises; what is finished is on disk.
        """
        ...


class Executor(Protocol):
    """Makes workers."""

    def open(
        self, build: Build[T, R], *, shared: Path, expected: Mapping[str, str]
    ) -> AbstractContextManager[Pool[T, R]]:
        """Build the workers; at the end of the context they are gone.

        Args:
            build: Builds one of them.
            shared: A folder that this process and all workers must see.
            expected: What is known here of their identity.

        Raises:
            ConfigError: If a worker cannot be part of this work, with the remedy.
        """
        ...
