"""What a run has to do, and what became of it."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path

from ren_core.errors import DataError
from vq2d.ego4d.annotations import Clip
from vq2d.types import QueryKey, VisualQuery

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
    def search_end(self) -> int:
        """One past the last frame that is searched."""
        return self.query.search_end(self.num_frames)


@dataclass(slots=True)
class RunReport:
    """What a run did, and per query what went wrong.

    Attributes:
        asked: The queries of this run, in file order.
        tasks: Those that have an answer on disk.
        failures: Reason per query without an answer; its prediction is empty.
        in_part: Reason per query whose clip ends before its window does; it is answered from
            the frames that are there.
        unscored: Reason per answered or empty query that the figures leave out.
        undrawn: Reason per query whose pictures are not all there.
        unseeded: Reason per query that could not be tracked from its true box.
        images_encoded: Encoder passes of this run.
        seconds: Per stage.
    """

    asked: tuple[QueryKey, ...] = ()
    tasks: list[Task] = field(default_factory=list)
    failures: dict[QueryKey, str] = field(default_factory=dict)
    in_part: dict[QueryKey, str] = field(default_factory=dict)
    unscored: dict[QueryKey, str] = field(default_factory=dict)
    undrawn: dict[QueryKey, str] = field(default_factory=dict)
    unseeded: dict[QueryKey, str] = field(default_factory=dict)
    images_encoded: int = 0
    seconds: dict[str, float] = field(default_factory=lambda: {"tokens": 0.0, "queries": 0.0})

    @property
    def troubles(self) -> dict[str, dict[QueryKey, str]]:
        """All that went wrong, by kind, kinds without an entry left out; empty if all went well."""
        kinds = {
            "not answered": self.failures,
            "answered in part": self.in_part,
            "left out of the figures": self.unscored,
            "not drawn": self.undrawn,
            "not tracked from the true box": self.unseeded,
        }
        return {kind: reasons for kind, reasons in kinds.items() if reasons}


def reason_of(err: Exception) -> str:
    """One line for a person; errors that we did not write ourselves carry their type."""
    return str(err) if isinstance(err, DataError) else f"{type(err).__name__}: {err}"


def log_failure(what: str, err: Exception) -> None:
    """Say what failed; with its traceback, unless it is an error that a person can mend."""
    logger.warning("%s: %s", what, err, exc_info=not isinstance(err, DataError))
