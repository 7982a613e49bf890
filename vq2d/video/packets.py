"""The packets of a video stream in the order of decoding, and what damage among them spoils."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av

PATIENCE_SECONDS = 20.0
"""A file that cannot be opened or read on within this time is given up."""
STRICT = {"err_detect": "explode"}
"""Makes a decoder report damage and not paint over it."""
TRANSPORT_STREAM = "mpegts"
"""FFmpeg's name of the container."""
AHEAD_SECONDS = 10
"""A transport stream that jumps further ahead was cut there, or its clock is damaged."""


def open_container(path: Path) -> Any:  # noqa: ANN401 - an av.container.InputContainer
    """An open file, which is given up if it makes no progress."""
    return av.open(str(path), timeout=PATIENCE_SECONDS, metadata_errors="replace")


class Packets:
    """The packets of a stream; where time stamps start anew, they go on from the last ones.

    So they do where a transport stream jumps ahead, as players do.

    Ends with an empty packet, which makes a decoder give what it still holds.

    Attributes:
        restarts: Whether time stamps started anew, or were odd, in what was read.
        broke_off: Whether the file could not be read to its end.
    """

    def __init__(self, container: Any, stream: Any) -> None:  # noqa: ANN401 - av has no types
        self._container, self._stream = container, stream
        self.restarts = False
        self.broke_off = False

    def __iter__(self) -> Iterator[Any]:
        latest, offset = None, 0
        second = 1 / self._stream.time_base
        is_stream = self._container.format.name == TRANSPORT_STREAM
        ahead = AHEAD_SECONDS * second if is_stream else math.inf
        for packet in self._readable():
            if packet.dts is None or packet.size == 0:
                yield packet
                continue
            step = 0 if latest is None else packet.dts + offset - latest
            if step < -second or step > ahead:
                offset = latest - packet.dts + max(int(packet.duration or 0), 1)
                self.restarts = True
            latest = packet.dts + offset
            if packet.pts is not None:
                is_odd = abs(packet.pts - packet.dts) > AHEAD_SECONDS * second
                packet.pts = latest if is_odd else packet.pts + offset
                self.restarts |= is_odd
            packet.dts = latest
            yield packet

    def _readable(self) -> Iterator[Any]:
        """Packets up to the first that cannot be read."""
        try:
            yield from self._container.demux(self._stream)
        except (av.FFmpegError, IndexError):  # the latter where a stream appears in the middle
            self.broke_off = True


class Spoiled:
    """What damage has spoiled: a broken packet, and what was predicted from it.

    That is all up to the next keyframe, and what is shown before that one but decoded after it.
    """

    def __init__(self) -> None:
        self._pts: set[int] = set()
        self._is_on = False
        self._key_pts: int | None = None  # of the keyframe that ended it

    def see(self, packet: Any, is_broken: bool) -> None:  # noqa: ANN401
        """Take in the next packet in the order of decoding."""
        if packet.is_keyframe:
            self._key_pts = packet.pts if self._is_on else None
            self._is_on = False
        self._is_on |= is_broken
        if packet.pts is None:
            return
        leads = self._key_pts is not None and packet.pts < self._key_pts
        if self._is_on or leads:
            self._pts.add(packet.pts)

    def spares(self, frame: Any) -> bool:  # noqa: ANN401
        """Whether a decoded frame is good."""
        return frame.pts is not None and not frame.is_corrupt and frame.pts not in self._pts
