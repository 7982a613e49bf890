"""What a run has to do, and what became of it."""

from __future__ import annotations

import errno
import logging
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

import torch

from ren_core.errors import DataError, RunStoppedError
from vq2d.ego4d.annotations import Clip
from vq2d.types import Localization, QueryKey, ResponseTrack, VisualQuery

STAGES = ("tokens", "queries")
"""What the time of a run is told apart by."""
SAME_FAULTS = 3
"""So many equal unexpected errors running are no fault of the clips."""
EXHAUSTED = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ENOMEM)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Task:
    """One query that shall be answered.

    Attributes:
        query: The question.
        clip: Where it is asked.
        size_hw: Height and width of the clip's file, pixels.
        num_frames: Frames of the clip's file, at the annotation rate.
        path: Where the answer is kept, in a folder named after the clip's content.
    """

    query: VisualQuery
    clip: Clip
    size_hw: tuple[int, int]
    num_frames: int
    path: Path

    @property
    def key(self) -> QueryKey:
        """Place of the query in the annotation file."""
        return self.query.key

    @property
    def search_end(self) -> int:
        """One past the last frame that is searched."""
        return self.query.search_end(self.num_frames)

    @property
    def truth(self) -> ResponseTrack | None:
        """The true track in frame pixels, if known."""
        return self.query.response_in(self.size_hw)


@dataclass(frozen=True, slots=True)
class Answer:
    """A task and what was found, read once from disk."""

    task: Task
    found: Localization

    @property
    def original_track(self) -> ResponseTrack | None:
        """The track in the pixels that the annotation counts in; None if nothing was found."""
        track = self.found.track
        return None if track is None else self.task.query.to_original(track, self.task.size_hw)


class Trouble(str, Enum):
    """What can go wrong with one query, as ``failures.json`` names it."""

    NOT_ANSWERED = "not answered"
    CUT_SHORT = "answered in part"
    NOT_SCORED = "left out of the figures"
    NOT_DRAWN = "not drawn"
    NO_TRUE_SEED = "not tracked from the true box"
    NO_TRUE_OUTLINE = "not outlined from the true boxes"
    NO_TRUE_OCCURRENCE = "not tracked in the true occurrence"


@dataclass(slots=True)
class FaultWatch:
    """Lets one item of a run fail and the others go on, unless all of them would fail alike."""

    _last_fault: object = None
    _streak: int = 0

    @contextmanager
    def guard(self, note: Callable[[str], object], what: str) -> Iterator[None]:
        """Give the reason of a fault of one item to ``note``, and go on.

        Args:
            note: Takes one sentence.
            what: The item, for the log.

        Raises:
            RunStoppedError: If all others would meet it too: a full disk, no memory, or the same
                unexpected error for the third time running.
        """
        try:
            yield
        except Exception as err:
            note(_reason_of(err))
            self._stop_if_hopeless(what, err)
            logger.warning("%s: %s", what, err, exc_info=not isinstance(err, DataError))
        else:
            self._last_fault = None

    def _stop_if_hopeless(self, what: str, err: Exception) -> None:
        advice = "mend that and give the same command again; what is finished is kept"
        if _is_of_machine(err):
            raise RunStoppedError(f"stopped at {what}: {_reason_of(err)}; {advice}") from err
        place = traceback.extract_tb(err.__traceback__)[-1]
        fault = None if isinstance(err, DataError) else (type(err), place.filename, place.lineno)
        self._streak = 1 if fault != self._last_fault else self._streak + 1
        self._last_fault = fault
        if fault is not None and self._streak == SAME_FAULTS:
            raise RunStoppedError(
                f"stopped at {what}: the same error {SAME_FAULTS} times running, "
                f"{_reason_of(err)} ({place.filename}:{place.lineno}); {advice}"
            ) from err


@dataclass(slots=True)
class RunCost:
    """What a run took for what was not on disk yet.

    Attributes:
        queries: Those that it answered.
        frames: Those that had to be searched for them, at the annotation rate.
        wall_s: Seconds, by stage; of workers at the same time their sum.
        processor_s: Seconds of all threads of a process, by stage; of all workers together.
    """

    queries: int = 0
    frames: int = 0
    wall_s: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STAGES, 0.0))
    processor_s: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STAGES, 0.0))

    def add(self, other: RunCost) -> None:
        """Add what another process, or another part of a run, took."""
        self.queries += other.queries
        self.frames += other.frames
        for stage in STAGES:
            self.wall_s[stage] += other.wall_s[stage]
            self.processor_s[stage] += other.processor_s[stage]

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add the time spent inside to one of ``STAGES``, also if it fails."""
        wall, processor = time.perf_counter(), time.process_time()
        try:
            yield
        finally:
            self.wall_s[stage] += time.perf_counter() - wall
            self.processor_s[stage] += time.process_time() - processor


@dataclass(slots=True)
class RunReport:
    """What a run did, and what went wrong with which query.

    Attributes:
        asked: The queries of this run, in file order.
        answers: Of those that have an answer on disk, in file order.
        images_encoded: Encoder passes of this run.
        cost: What this run took.
    """

    asked: tuple[QueryKey, ...] = ()
    answers: list[Answer] = field(default_factory=list)
    images_encoded: int = 0
    cost: RunCost = field(default_factory=RunCost)
    _troubles: dict[Trouble, dict[QueryKey, str]] = field(
        default_factory=lambda: {trouble: {} for trouble in Trouble}
    )
    _faults: FaultWatch = field(default_factory=FaultWatch)

    def note(self, trouble: Trouble, reasons: Mapping[QueryKey, str]) -> None:
        """Record one sentence for each query that something went wrong with."""
        self._troubles[trouble].update(reasons)

    @contextmanager
    def guard(self, trouble: Trouble, keys: Sequence[QueryKey], what: str) -> Iterator[None]:
        """Note a fault of one clip or query and go on: one bad clip never ends a run.

        Args:
            trouble: What it means for the queries.
            keys: The queries that it costs.
            what: The clip or query, for the log.

        Raises:
            RunStoppedError: If all others would meet it too: a full disk, no memory, or the same
                unexpected error for the third time running.
        """

        def note(reason: str) -> None:
            self.note(trouble, dict.fromkeys(keys, reason))

        with self._faults.guard(note, what):
            yield

    def reasons(self, trouble: Trouble) -> Mapping[QueryKey, str]:
        """The sentence for each query with this trouble."""
        return self._troubles[trouble]

    @property
    def troubles(self) -> dict[str, Mapping[QueryKey, str]]:
        """All that went wrong, by its name in ``failures.json``; empty if all went well."""
        return {trouble.value: reasons for trouble, reasons in self._troubles.items() if reasons}


def _reason_of(err: Exception) -> str:
    """One line for a person; errors that we did not write ourselves carry their type."""
    return str(err) if isinstance(err, DataError) else f"{type(err).__name__}: {err}"


def _is_of_machine(err: BaseException) -> bool:
    """Whether disk or memory is exhausted; also if that is only the cause of another error."""
    if isinstance(err, MemoryError | torch.OutOfMemoryError):
        return True
    if isinstance(err, OSError) and err.errno in EXHAUSTED:
        return True
    if isinstance(err, RuntimeError) and "can't allocate memory" in str(err):  # torch on a CPU
        return True
    return err.__cause__ is not None and _is_of_machine(err.__cause__)
