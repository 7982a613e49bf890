"""One video on its way into the memory, and how it gets there."""

from __future__ import annotations

import secrets
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ren_core.errors import DataError
from vq2d.memory.memory import Memory
from vq2d.video.frames import VideoFrames, open_video
from vq2d.web.errors import CancelledError, ClosedError, sentence

State = Literal["waiting", "working", "done", "failed", "cancelled"]
ENDS: frozenset[State] = frozenset({"done", "failed", "cancelled"})

MOST_PIXELS = 8192 * 4320
"""Of a frame."""
MOST_SECONDS = 24 * 3600.0
STEPS_TIMED = 40
"""The time left is told from so many of the last steps."""


@dataclass(slots=True, eq=False)
class Addition:
    """A video that shall be remembered; written by the worker, read by any thread.

    Attributes:
        path: The file.
        upload: Folder that holds only this file, if it was sent; it goes with it.
        id: Random, for the client.
        state: How far it is.
        error: What went wrong, in one sentence.
        fingerprint: Of its frames, once they are known.
        num_frames: At 5 per second; 0 as long as that is not known.
        frames_done: Of these.
        is_cancelled: Set by whoever does not want it any more.
    """

    path: Path
    upload: Path | None = None
    id: str = field(default_factory=lambda: secrets.token_hex(8))
    state: State = "waiting"
    error: str | None = None
    fingerprint: str | None = None
    num_frames: int = 0
    frames_done: int = 0
    is_cancelled: threading.Event = field(default_factory=threading.Event)
    _steps: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=STEPS_TIMED))

    @property
    def is_over(self) -> bool:
        """Whether nothing will happen to it any more."""
        return self.state in ENDS

    @property
    def seconds_left(self) -> float | None:
        """Estimate, without questions in between; None as long as there is none."""
        steps = list(self._steps)
        if self.state != "working" or len(steps) < 2 or steps[-1][1] == steps[0][1]:
            return None
        seconds_per_frame = (steps[-1][0] - steps[0][0]) / (steps[-1][1] - steps[0][1])
        return (self.num_frames - self.frames_done) * seconds_per_frame

    def step(self, at: float, frames: int = 0) -> None:
        """So many frames more are done.

        Args:
            at: Seconds of work until now, on any clock.
            frames: How many.
        """
        self.frames_done += frames
        self._steps.append((at, self.frames_done))

    def turn(self, state: State, error: str | None = None) -> None:
        """Be in another state."""
        self.error = error
        self.state = state

    def leave_nothing(self) -> None:
        """Delete the file if it was sent."""
        if self.upload is not None:
            shutil.rmtree(self.upload, ignore_errors=True)


def remember(memory: Memory, addition: Addition, between: Callable[[], object]) -> None:
    """Remember a video; whatever is wrong with it is its end, and noted.

    Args:
        memory: Takes it in.
        addition: What is remembered; an upload is moved into the folder of its video, or deleted.
        between: Called between two steps; may take long, and raise ``ClosedError`` to have the
            work left as it is, to go on another time.
    """
    try:
        _remember(memory, addition, between)
    except ClosedError:
        addition.turn("waiting")
    except CancelledError:
        _leave_nothing(memory, addition)
        addition.turn("cancelled")
    except Exception as err:  # noqa: BLE001 - the thread goes on; the log has the traceback
        if addition.upload is None:
            memory.store.catalogue.put_failure(addition.path, str(err) or type(err).__name__)
        else:
            _leave_nothing(memory, addition)
        addition.turn("failed", sentence(err))
    else:
        addition.turn("done")


def _remember(memory: Memory, addition: Addition, between: Callable[[], object]) -> None:
    """See ``remember``; raises what is wrong."""
    frames = open_video(addition.path, reader=memory.reader)
    _check_size(frames)
    addition.num_frames, addition.fingerprint = len(frames), frames.fingerprint
    known = next((v for v in memory.videos() if v.fingerprint == frames.fingerprint), None)
    if addition.upload and known and known.path != addition.path and known.path.is_file():
        shutil.rmtree(addition.upload)  # the memory has it already
        return
    between_s = 0.0
    addition.step(time.monotonic())

    def on_frames(count: int) -> None:
        nonlocal between_s
        addition.step(time.monotonic() - between_s, count)
        started = time.monotonic()
        between()
        between_s += time.monotonic() - started
        if addition.is_cancelled.is_set():
            raise CancelledError

    video = memory.add(addition.path, on_frames, wait=False)
    if video is None:
        addition.fingerprint = None  # what is being made of it is not ours
        raise DataError(
            f"{addition.path.name} was not taken: another program is remembering it now, or it "
            "was recorded before the memory's time to forget"
        )
    if addition.upload is not None:
        target = memory.store.folder_of(video.fingerprint) / "file" / addition.path.name
        target.parent.mkdir(mode=0o700, exist_ok=True)
        addition.path.replace(target)
        memory.store.moved(video, target)
        shutil.rmtree(addition.upload)


def _check_size(frames: VideoFrames) -> None:
    """Refuse what would take this machine too long, or more memory than it may have."""
    H, W = frames.size_hw
    if H * W > MOST_PIXELS:
        raise DataError(
            f"{frames.path} shows {W} x {H} pixels, and at most {MOST_PIXELS} are taken; make it "
            "smaller first"
        )
    if frames.duration > MOST_SECONDS:
        raise DataError(
            f"{frames.path} plays for {frames.duration / 3600:.1f} hours, and at most "
            f"{MOST_SECONDS / 3600:g} are taken; cut it first"
        )


def _leave_nothing(memory: Memory, addition: Addition) -> None:
    """Delete what was made of a video that is not wanted, and the file if it was sent."""
    if addition.fingerprint is not None:
        memory.store.clear_making(addition.fingerprint)
    addition.leave_nothing()
