"""Work that overlaps: what is read ahead of its use, and what is taken behind its start."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def read_ahead(
    read: Callable[[Item], Future[Result]], items: Iterable[Item], most: int
) -> Iterator[Result]:
    """What is read for each item, in order, while the next ones are already being read.

    Args:
        read: Has an item read by a worker; what that raises is raised here, in its place. The
            owner of the workers ends them, and so waits for what is being read.
        items: What is read.
        most: So many items are read, or lie here unused, while one is used.
    """
    pending: deque[Future[Result]] = deque()
    for item in items:
        pending.append(read(item))
        if len(pending) > most:
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()


def take_behind(started: Iterable[Callable[[], Result]], behind: int) -> Iterator[Result]:
    """The results of work that was started, in order, each after the next ones were started.

    Args:
        started: Starts one piece of work after the other; each call waits for its result.
        behind: So many pieces are under way while a result is taken; 0: the one that is waited for.
    """
    waiting: deque[Callable[[], Result]] = deque()
    for take in started:
        waiting.append(take)
        if len(waiting) > behind:
            yield waiting.popleft()()
    while waiting:
        yield waiting.popleft()()
