"""One question on its way: what has happened so far, as events that can be read again."""

from __future__ import annotations

import secrets
import threading
from dataclasses import dataclass, field
from typing import Any, Literal

from vq2d.memory.ask import MemoryQuestion

Kind = Literal["queued", "searching", "moment", "sighting", "done", "failed", "cancelled"]
ENDS: frozenset[Kind] = frozenset({"done", "failed", "cancelled"})


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a question.

    Attributes:
        kind: What.
        data: JSON types.
    """

    kind: Kind
    data: dict[str, Any]


@dataclass(slots=True, eq=False)
class Asked:
    """A question that was put; written by the worker, read by any thread.

    Attributes:
        question: What is asked; its pictures are dropped once it is over.
        id: Random, for the client.
        events: So far, the oldest first; only ever appended to.
        answer: Name of the kept answer, once it is known.
        is_cancelled: Set by whoever does not want the answer any more.
    """

    question: MemoryQuestion | None
    id: str = field(default_factory=lambda: secrets.token_hex(8))
    events: list[Event] = field(default_factory=list)
    answer: str | None = None
    is_cancelled: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def is_over(self) -> bool:
        """Whether no event will follow."""
        return bool(self.events) and self.events[-1].kind in ENDS

    def tell(self, kind: Kind, **data: Any) -> None:  # noqa: ANN401 - JSON types
        """Append an event, unless all is over; worker and client may end a question at once."""
        with self._lock:
            if self.is_over:
                return
            self.events.append(Event(kind, data))
            if kind in ENDS:
                self.question = None
