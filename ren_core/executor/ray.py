"""Workers on a Ray cluster: actors that load their models once and do one item per call.

Ray places actors and says when one has died; which item is asked where, and how often, is decided
here. A worker that dies is replaced, and its item asked again; an item that has killed its worker
``MOST_DEATHS`` times is lost, and the others go on. A node that leaves costs no item anything.
Ray's own retries are switched off: they would hide which item killed whom, and end in an error that
leaves open whether the item is still running.
"""

from __future__ import annotations

import logging
import os
import time
import uuid
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Generic

from ren_core.errors import ConfigError, RunStoppedError
from ren_core.executor.base import Build, Done, Item, Pool, Progress, R, T, Worker

MOST_DEATHS = 3
"""So often an item may kill its worker, and a worker may die before it is ready."""
WAIT_SECONDS = 30.0
"""How often it is said that nothing happens."""
JOIN_SECONDS = 60.0
"""Workers that are not ready so long after the first one may join later."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RayExecutor:
    """How many workers of which size, on which cluster.

    Attributes:
        address: Of the cluster's head; None: of RAY_ADDRESS or of this machine, else a new one.
        workers: None: as many as the cluster has room for.
        cpus_per_worker: Processors, and threads.
        gpus_per_worker: GPUs, or a share of one.
    """

    address: str | None = None
    workers: int | None = None
    cpus_per_worker: int = 1
    gpus_per_worker: float = 0.0

    @contextmanager
    def open(
        self, build: Build[T, R], *, shared: Path, expected: Mapping[str, str]
    ) -> Iterator[Pool[T, R]]:
        """Start the workers and wait until they are ready; see ``Executor.open``.

        Raises:
            ConfigError: If there is no such cluster, or it has no room for a worker, or a worker
                sees another folder or has another identity than the others.
            RunStoppedError: If workers die before they are ready.
        """
        is_ours = _connect(self.address)
        try:
            room = self._room()
            with _probe(shared) as probe:
                pool = RayPool(self, build, probe, dict(expected), self.workers or room)
                try:
                    pool.wait_until_ready(min(room, self.workers or room))
                    yield pool
                finally:
                    pool.close()
        finally:
            if is_ours:
                _ray().shutdown()

    def _room(self) -> int:
        """How many workers the nodes of the cluster can hold."""
        sizes = [node["Resources"] for node in _ray().nodes() if node["Alive"]]
        room = 0
        for size in sizes:
            fits = int(size.get("CPU", 0) // self.cpus_per_worker)
            if self.gpus_per_worker:
                fits = min(fits, int(size.get("GPU", 0) / self.gpus_per_worker + 1e-9))
            room += fits
        if room == 0:
            has = "; ".join(f"{s.get('CPU', 0):g} CPUs, {s.get('GPU', 0):g} GPUs" for s in sizes)
            raise ConfigError(
                f"no node of the cluster has room for a worker of {self.cpus_per_worker} CPUs and "
                f"{self.gpus_per_worker:g} GPUs (its nodes: {has}); start nodes, or give smaller "
                "--cpus-per-worker and --gpus-per-worker"
            )
        return room


@dataclass(frozen=True, slots=True)
class _Probe:
    """A file that head and workers must both see."""

    path: Path
    text: str

    def check(self) -> None:
        """Refuse a worker that does not see it."""
        try:
            is_seen = self.path.read_text() == self.text
        except OSError:
            is_seen = False
        if not is_seen:
            raise ConfigError(
                f"this worker does not see the files that the head writes into {self.path.parent}; "
                "mount the same storage at the same path on all machines, and give that path"
            )


@contextmanager
def _probe(shared: Path) -> Iterator[_Probe]:
    """A file in a shared folder, while the work lasts."""
    shared.mkdir(parents=True, exist_ok=True)
    text = uuid.uuid4().hex
    probe = _Probe(shared.absolute() / f".seen-by-all-{text[:8]}", text)
    probe.path.write_text(text)
    try:
        yield probe
    finally:
        probe.path.unlink(missing_ok=True)


class RayActor(Generic[T, R]):
    """What runs in a worker's process."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.worker: Worker[T, R] | None = None

    def __repr__(self) -> str:
        """What Ray writes before every line of this worker."""
        return self.name

    def start(self, build: Build[T, R], probe: _Probe, threads: int) -> tuple[dict[str, str], str]:
        """Load the models; the worker's identity, and the id of its node."""
        _log_with("start")
        probe.check()
        import torch  # late: help needs no torch

        torch.set_num_threads(threads)
        self.worker = build()
        return dict(self.worker.identity), _ray().get_runtime_context().get_node_id()

    def do(self, item: Item[T]) -> tuple[R, dict[str, int]]:
        """Do an item; what was returned, and what progress was made."""
        _log_with(item.name)
        assert self.worker is not None
        made: Counter[str] = Counter()
        result = self.worker(item.load, lambda what, count: made.update({what: count}))
        return result, dict(made)


@dataclass(slots=True)
class _Seat(Generic[T]):
    """The place of a worker: whoever sits there is replaced when it dies.

    Attributes:
        name: Of the worker, as the dashboard and its log lines show it.
        actor: Ray's handle.
        running: Ray's reference of the call in progress; None: the worker is idle.
        item: What it works on; None: it is starting, or idle.
        node: The id of the node that it runs on, once known.
        deaths: Before it was ready, running.
    """

    name: str
    actor: Any = None
    running: Any = None
    item: Item[T] | None = None
    node: str = ""
    deaths: int = 0


@dataclass(slots=True)
class _Tally:
    """How far a call of ``map`` is."""

    items: int
    size: int
    started: float = field(default_factory=time.monotonic)
    items_done: int = 0
    size_done: int = 0
    made: Counter[str] = field(default_factory=Counter)

    def line(self, size: int, made: Mapping[str, int]) -> str:
        """Count one more item; how far that is, at which rate, and the time left."""
        self.items_done += 1
        self.size_done += size
        self.made.update(made)
        seconds = max(time.monotonic() - self.started, 1e-9)
        share = self.size_done / max(self.size, 1)
        left = timedelta(seconds=round(seconds * (1 - share) / share)) if share else "?"
        rates = [f"{count / seconds:.2f} {what}/s" for what, count in sorted(self.made.items())]
        facts = [f"{self.items_done} of {self.items} done ({share:.0%} of the work)", *rates]
        return ", ".join([*facts, f"{left} left"])


class RayPool(Generic[T, R]):
    """Workers on the cluster, some of which may still be starting."""

    def __init__(
        self,
        size: RayExecutor,
        build: Build[T, R],
        probe: _Probe,
        identity: dict[str, str],
        workers: int,
    ) -> None:
        self.identity: dict[str, str] = identity
        self._size = size
        self._build = build
        self._probe = probe
        self._is_open = False
        run = probe.text[:4]  # another run may be on the same cluster
        self._seats: list[_Seat[T]] = [_Seat(f"worker-{i + 1}-{run}") for i in range(workers)]
        for seat in self._seats:
            self._start(seat)

    def wait_until_ready(self, workers: int) -> None:
        """Wait for so many workers; those that take much longer than the first may join later."""
        logger.info("ray: %d workers on the cluster, loading their models", len(self._seats))
        first_ready = None
        while sum(self._is_ready(seat) for seat in self._seats) < workers:
            seat = self._next()
            if seat is None:
                ready = [seat for seat in self._seats if self._is_ready(seat)]
                if first_ready is not None and time.monotonic() - first_ready > JOIN_SECONDS:
                    break
                logger.info("ray: %d of %d workers are ready", len(ready), workers)
            elif self._joined(seat):
                first_ready = first_ready or time.monotonic()
        self._is_open = True

    def map(self, items: Sequence[Item[T]], on_progress: Progress) -> Iterator[Done[T, R]]:
        """Do all items, the largest first, as many at a time as there are workers."""
        waiting = deque(sorted(items, key=lambda item: -item.size))
        deaths: Counter[str] = Counter()
        tally = _Tally(len(items), sum(item.size for item in items))
        while waiting or any(seat.item for seat in self._seats):
            self._hand_out(waiting)
            seat = self._next()
            if seat is None:
                continue
            if seat.item is None:
                self._joined(seat)
                continue
            item, outcome = seat.item, self._outcome(seat)
            if outcome is not None:
                result, made = outcome
                for what, count in made.items():
                    on_progress(what, count)
                logger.info("%s by %s: %s", item.name, seat.name, tally.line(item.size, made))
                yield Done(item, result)
                continue
            left = _has_left(seat.node)
            deaths[item.name] += not left
            self._replace(seat)
            if deaths[item.name] < MOST_DEATHS:
                why = "its node has left the cluster" if left else "it died"
                logger.warning(
                    "%s: %s at it, so it is asked again", item.name, f"{seat.name}: {why}"
                )
                (waiting.appendleft if left else waiting.append)(item)
                continue
            logger.error("%s: given up, %s", item.name, tally.line(item.size, {}))
            yield Done(item, None, lost=_killer(MOST_DEATHS))

    def close(self) -> None:
        """End all workers."""
        for seat in self._seats:
            with suppress(_ray().exceptions.RayError, ValueError):
                _ray().kill(seat.actor)

    def _start(self, seat: _Seat[T]) -> None:
        """Ask Ray for a new actor in a place; it may have to wait for a node."""
        seat.actor = (
            _ray()
            .remote(RayActor)
            .options(
                name=f"{seat.name}-{uuid.uuid4().hex[:4]}",  # the name of a dead one may be taken
                num_cpus=self._size.cpus_per_worker,
                num_gpus=self._size.gpus_per_worker,
                max_restarts=0,
                max_task_retries=0,
                scheduling_strategy="SPREAD",
            )
            .remote(seat.name)
        )
        seat.item, seat.node = None, ""
        seat.running = seat.actor.start.remote(self._build, self._probe, self._size.cpus_per_worker)

    def _replace(self, seat: _Seat[T]) -> None:
        """Start a new worker in the place of one that has died, or that cannot be reached."""
        with suppress(_ray().exceptions.RayError, ValueError):
            _ray().kill(seat.actor)
        self._start(seat)

    def _is_ready(self, seat: _Seat[T]) -> bool:
        return bool(seat.node)

    def _hand_out(self, waiting: deque[Item[T]]) -> None:
        """Give every idle worker an item."""
        for seat in self._seats:
            if waiting and self._is_ready(seat) and seat.running is None:
                seat.item = waiting.popleft()
                seat.running = seat.actor.do.remote(seat.item)

    def _next(self) -> _Seat[T] | None:
        """The next place where something has happened; None if nothing has for a while."""
        by_call = {seat.running: seat for seat in self._seats if seat.running is not None}
        done, _ = _ray().wait(list(by_call), num_returns=1, timeout=WAIT_SECONDS)
        if done:
            return by_call[done[0]]
        if not any(self._is_ready(seat) for seat in self._seats):
            logger.warning(
                "ray: no worker is ready; it waits for a node with %d CPUs and %g GPUs free, or "
                "loads its models (`ray status` says which)",
                self._size.cpus_per_worker,
                self._size.gpus_per_worker,
            )
        return None

    def _outcome(self, seat: _Seat[T]) -> Any:  # noqa: ANN401 - what the called method returns
        """What a call has returned; None if the worker has died. What it raised is raised here."""
        call, seat.running, seat.item = seat.running, None, None
        try:
            return _ray().get(call)
        except _ray().exceptions.RayTaskError as err:
            if isinstance(err.cause, Exception):
                raise err.cause from None
            raise
        except _ray().exceptions.RayError as err:
            logger.debug("%s: %s", seat.name, err)
            return None

    def _joined(self, seat: _Seat[T]) -> bool:
        """Take a worker that has started, if it may be part of the work; whether it may.

        At first one that may not stops all; later on, when work may be hours old, only its place
        is given up, as long as there are others.
        """
        try:
            outcome = self._outcome(seat)
            if outcome is None:
                seat.deaths += 1
                if seat.deaths == MOST_DEATHS:
                    raise RunStoppedError(
                        f"{seat.name} died {MOST_DEATHS} times before its models were loaded; too "
                        "little memory is the usual reason: give fewer --workers, and look into "
                        "the worker's log (`ray logs`)"
                    )
                self._replace(seat)
                return False
            identity, seat.node = outcome
            self._check(seat, identity)
        except Exception as err:
            self._seats.remove(seat)
            if not self._is_open or not self._seats:
                raise
            logger.error("%s is left out: %s", seat.name, err)
            return False
        seat.deaths = 0
        return True

    def _check(self, seat: _Seat[T], identity: dict[str, str]) -> None:
        """Refuse a worker that would compute something else than the head or the others."""
        for what, value in identity.items():
            known = self.identity.setdefault(what, value)
            if known != value:
                raise ConfigError(
                    f"{seat.name} on node {_address(seat.node)} has {what} {value}, and the head "
                    f"or another worker {known}: they would not compute the same. Install the same "
                    "version of the program and of the weights on all machines, and name --engine, "
                    "--dtype and --device where processors differ"
                )


def _killer(deaths: int) -> str:
    return (
        f"its worker died {deaths} times while it was at it, and it was not asked again; too "
        "little memory is the usual reason, the worker's log says more (`ray logs`); give the same "
        "command again with fewer --workers, or without --executor"
    )


def _connect(address: str | None) -> bool:
    """Join a cluster, or start one; whether this process was in none before."""
    ray = _ray()
    if ray.is_initialized():
        return False
    try:
        ray.init(address=address, logging_level=logging.WARNING, log_to_driver=True)
    except (ConnectionError, TimeoutError, ValueError, RuntimeError) as err:
        raise ConfigError(
            f"no Ray cluster answers at {address or 'RAY_ADDRESS'} ({str(err).splitlines()[0]}); "
            "start its head with `ray start --head`, and give the address that it prints"
        ) from err
    return True


def _has_left(node: str) -> bool:
    """Whether a node is no part of the cluster any more."""
    return not any(n["NodeID"] == node and n["Alive"] for n in _ray().nodes())


def _address(node: str) -> str:
    found = [n["NodeManagerAddress"] for n in _ray().nodes() if n["NodeID"] == node]
    return found[0] if found else node


def _log_with(item: str) -> None:
    """Let the log lines of this process carry what it works on."""
    logging.basicConfig(level=logging.INFO, format=f"{item}: %(message)s", force=True)


def _ray() -> Any:  # noqa: ANN401 - the module
    """Ray, imported when it is asked for: it takes a second, and is not installed everywhere."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing leaves the machine
    os.environ.setdefault("RAY_DEDUP_LOGS", "0")  # lines of different clips may look alike
    import ray

    return ray
