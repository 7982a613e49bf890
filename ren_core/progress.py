"""How far long work is: a bar on a terminal, else a line a minute in the log; and for programs.

``tqdm`` here is the one of the package tqdm, and what it counts is also logged and written to the
file of ``events_to``.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from tqdm import tqdm as plain_tqdm

EVERY_S = 60.0
"""Seconds from one line or event of a stage to the next."""

logger = logging.getLogger(__name__)
_events: ContextVar[Path | None] = ContextVar("events", default=None)


def events_to(path: Path) -> None:
    """Append an event a minute and stage to a file from now on, until the command ends.

    An event is a JSON object on a line: ``time`` (ISO 8601, UTC), ``stage``, ``state`` (``begun``,
    ``going on``, ``ended``), ``done``, ``total`` (null where it is not known), ``unit``, ``per_s``
    and ``left_s`` (null before the first step).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _events.set(path)


class tqdm(plain_tqdm):  # type: ignore[type-arg] # noqa: N801 - takes the other's place
    """A progress bar that is not silent without a terminal.

    With ``disable=None`` it logs a line a minute where there is no terminal; ``disable=True`` is
    silent everywhere, as for all processes of a training but the first.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - the other's own
        super().__init__(*args, **kwargs)
        silent = kwargs.get("disable") is True
        self._watch = (
            None
            if silent
            else Watch(
                stage=kwargs.get("desc") or "steps",
                total=self.total,
                unit=kwargs.get("unit", "step"),
                done=self.n,
                logs=bool(self.disable),
            )
        )

    def __iter__(self) -> Iterator[Any]:
        for item in super().__iter__():
            yield item
            if self._watch is not None:
                self._watch.moved(1)
        self._end()

    def update(self, n: float | None = 1) -> bool | None:
        """Count ``n`` more steps."""
        if self._watch is not None:
            self._watch.moved(n or 0)
        return super().update(n)

    def close(self) -> None:
        """End the bar and the stage."""
        super().close()
        self._end()

    def _end(self) -> None:
        watch = getattr(self, "_watch", None)  # the other may close before it is built
        if watch is not None:
            watch.end()


@dataclass(slots=True)
class Watch:
    """What is known of one stage, told at most once a minute.

    Attributes:
        stage: What is done.
        total: Steps in all; None: not known.
        unit: What a step is, in the singular.
        done: Steps so far, those of an earlier run included.
        logs: Whether lines are logged.
    """

    stage: str
    total: float | None
    unit: str
    done: float
    logs: bool
    _first: float = field(init=False)
    _started: float = field(init=False)
    _told: float = field(init=False)
    _lines: int = field(init=False, default=0)
    _ended: bool = field(init=False, default=False)
    _path: Path | None = field(init=False)

    def __post_init__(self) -> None:
        self._first, self._path = self.done, _events.get()
        self._started = self._told = time.monotonic()
        self._write("begun")

    def moved(self, steps: float) -> None:
        """Count steps; say so if the last time is a minute ago."""
        self.done += steps
        if time.monotonic() - self._told >= EVERY_S:
            self._told = time.monotonic()
            self._log()
            self._write("going on")

    def end(self) -> None:
        """The stage is over; the log hears of it if it has heard of the stage."""
        if self._ended:
            return
        self._ended = True
        if self._lines:
            self._log()
        self._write("ended")

    @property
    def per_s(self) -> float | None:
        """Steps per second of this run; None before the first."""
        passed = time.monotonic() - self._started
        return (self.done - self._first) / passed if self.done > self._first else None

    @property
    def left_s(self) -> float | None:
        """Seconds to the end at this rate; None where that is not known."""
        rate = self.per_s
        return None if rate is None or not self.total else max(0, self.total - self.done) / rate

    def line(self) -> str:
        """Stage, done, total, rate, time left."""
        of = f" of {self.total:g}" if self.total else ""
        parts = [f"{self.stage}: {self.done:g}{of} {self.unit}s"]
        if self.per_s is not None:
            parts.append(f"{self.per_s:.3g} a second")
        if self.left_s is not None:
            parts.append(f"{timedelta(seconds=round(self.left_s))} left")
        return ", ".join(parts)

    def _log(self) -> None:
        if self.logs:
            self._lines += 1
            logger.info("%s", self.line())

    def _write(self, state: str) -> None:
        if self._path is None:
            return
        event = {
            "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "stage": self.stage,
            "state": state,
            "done": self.done,
            "total": self.total,
            "unit": self.unit,
            "per_s": self.per_s,
            "left_s": self.left_s,
        }
        with self._path.open("a") as file:
            file.write(json.dumps(event) + "\n")
