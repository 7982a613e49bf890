"""The one thread that owns the models: it answers questions and remembers videos, one by one.

Questions go first. One that comes while a video is being remembered is answered before the next
batch of frames of that video, so that it waits for no more than a batch.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict, deque
from contextlib import suppress

from vq2d.memory.ask import MemoryQuestion
from vq2d.memory.catalogue import FRAMES_PER_SECOND, RememberedVideo
from vq2d.memory.memory import Memory
from vq2d.types import Candidate
from vq2d.web.additions import Addition, remember
from vq2d.web.answers import sighting_json, video_json
from vq2d.web.asked import Asked
from vq2d.web.errors import CancelledError, ClosedError, FullError, sentence

logger = logging.getLogger(__name__)

MOST_WAITING = 4
MOST_VIDEOS_WAITING = 50
MOST_KNOWN = 64
"""Questions whose events can still be read."""
STOP_SECONDS = 3.0


class Desk:
    """Takes questions and videos, and works through them whether or not somebody still listens."""

    def __init__(self, memory: Memory) -> None:
        self.memory = memory
        self._waiting: deque[Asked] = deque()
        self._known: OrderedDict[str, Asked] = OrderedDict()
        self._additions: dict[str, Addition] = {}
        self._changed = threading.Condition()
        self._is_closed = False
        self._thread = threading.Thread(target=self._work, name="models", daemon=True)

    def open(self) -> None:
        """Begin to work."""
        self._thread.start()

    def cancel_all(self) -> None:
        """Answer nothing any more; whoever follows a question is told that it is cancelled."""
        with self._changed:
            self._is_closed = True
            for asked in self._known.values():
                asked.is_cancelled.set()
                asked.tell("cancelled")
            self._changed.notify()

    def close(self) -> None:
        """Cancel all questions and wait for the thread, unless it is at work for long."""
        self.cancel_all()
        if self._thread.is_alive():
            self._thread.join(STOP_SECONDS)

    def check_room(self) -> None:
        """Refuse early what could not wait in line.

        Raises:
            FullError: If the line is full.
        """
        if len(self._waiting) >= MOST_WAITING:
            raise FullError

    def put(self, question: MemoryQuestion) -> Asked:
        """Put a question in line.

        Raises:
            FullError: If the line is full.
        """
        asked = Asked(question)
        with self._changed:
            self.check_room()
            asked.tell("queued", before=len(self._waiting))
            self._waiting.append(asked)
            self._known[asked.id] = asked
            while len(self._known) > MOST_KNOWN and next(iter(self._known.values())).is_over:
                self._known.popitem(last=False)
            self._changed.notify()
        return asked

    def find(self, name: str) -> Asked | None:
        """The question of an id."""
        return self._known.get(name)

    def cancel(self, asked: Asked) -> None:
        """Take a question out of the line, or have it broken off where that can be."""
        with self._changed:
            if asked in self._waiting:
                self._waiting.remove(asked)
            asked.is_cancelled.set()
            asked.tell("cancelled")

    @property
    def additions(self) -> list[Addition]:
        """Videos that wait, are being remembered, or were and are not dismissed; oldest first."""
        return list(self._additions.values())

    def check_video_room(self) -> None:
        """Refuse early what could not wait in line.

        Raises:
            FullError: If the line is full.
        """
        if sum(not one.is_over for one in self.additions) >= MOST_VIDEOS_WAITING:
            raise FullError

    def add(self, addition: Addition) -> None:
        """Put a video in line.

        Raises:
            FullError: If the line is full.
        """
        with self._changed:
            self.check_video_room()
            self._additions[addition.id] = addition
            self._changed.notify()

    def dismiss(self, name: str) -> bool | None:
        """Take a video out of the line, have it broken off, or show it no more.

        Whether it was over; None if there is none of this id.
        """
        with self._changed:
            addition = self._additions.get(name)
            if addition is None:
                return None
            was_over = addition.is_over
            addition.is_cancelled.set()
            if addition.state != "working":
                del self._additions[name]
                addition.leave_nothing()
            return was_over

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._next() or self._is_closed)
                if self._is_closed:
                    return
                addition = None if self._waiting else self._next()
                if addition is not None:
                    addition.turn("working")
            with suppress(ClosedError):
                if addition is None:
                    self._answer_waiting()
                else:
                    remember(self.memory, addition, self._answer_waiting)

    def _next(self) -> Addition | None:
        return next((one for one in self.additions if one.state == "waiting"), None)

    def _answer_waiting(self) -> None:
        """Answer all questions that wait.

        Raises:
            ClosedError: If the desk is closed.
        """
        while not self._is_closed:
            with self._changed:
                if not self._waiting:
                    return
                asked = self._waiting.popleft()
            self._answer(asked)
        raise ClosedError

    def _answer(self, asked: Asked) -> None:
        """All events of one question; whatever is wrong with it ends it, and not the thread."""
        try:
            self._search(asked)
        except CancelledError:
            asked.tell("cancelled")
            logger.info("question %s was cancelled", asked.id)
        except Exception as err:  # noqa: BLE001 - the thread goes on; the log has the traceback
            asked.tell("failed", error=sentence(err))

    def _search(self, asked: Asked) -> None:
        question = asked.question
        if question is None:
            raise CancelledError

        def on_found(video: RememberedVideo, candidate: Candidate) -> None:
            _stop_if_cancelled(asked)
            asked.tell("moment", **_moment_json(video, candidate))

        asked.tell("searching")
        name = self.memory.answer_name(question)
        for sighting in self.memory.ask(question, on_found=on_found):
            _stop_if_cancelled(asked)
            asked.tell("sighting", **sighting_json(sighting))
        asked.answer = name
        asked.tell("done", answer=name)


def _stop_if_cancelled(asked: Asked) -> None:
    if asked.is_cancelled.is_set():
        raise CancelledError


def _moment_json(video: RememberedVideo, candidate: Candidate) -> dict[str, object]:
    """Where the thing seems to be, before it is followed."""
    box = candidate.box_xyxy
    return {
        "video": video_json(video),
        "frame": candidate.frame_idx,
        "at_s": candidate.frame_idx / FRAMES_PER_SECOND,
        "box_xyxy": None if box is None else box.astype(float).tolist(),
        "score": candidate.refined_score,
    }
