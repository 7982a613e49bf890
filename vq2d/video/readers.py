"""Two decoders behind one interface, PyAV and decord: frames of a file by number.

Damage is never shown: what a decoder reports as broken, and all that was predicted from it up to
the next keyframe, is left out, and the last good frame stands in.
"""

from __future__ import annotations

import weakref
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import av
import numpy as np

from ren_core.errors import ConfigError, DataError
from ren_core.images import Image
from vq2d.video.packets import STRICT, Packets, Spoiled, open_container
from vq2d.video.timeline import Timeline

try:
    import decord
except ImportError:
    decord = None

ReaderName = Literal["av", "decord"]

DECORD_CODECS = ("h264", "hevc", "vp9")
DECORD_FORMATS = ("yuv420p", "yuvj420p")
DECORD_FILES = (".mp4", ".m4v", ".mov")

FAR = 16
"""So many frames ahead and more, a keyframe is sought; nearer ones are decoded on to."""
TRIES = 6
"""Keyframes that are tried before decoding starts from the beginning of the file."""
HIDING_CODECS = ("vp8", "vp9", "av1")
"""In these a packet may hold a picture that is never shown: one that does not come is no loss."""
IDLE_PACKETS = 5000
"""A file that gives no frame for so many packets makes no progress."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """A frame (H, W, 3) as shown; ``is_held`` if it stands in for one that cannot be decoded."""

    image: Image
    is_held: bool = False


class Reader(Protocol):
    """Decodes frames of one file by number."""

    def read(self, numbers: Sequence[int]) -> Iterator[Decoded]:
        """One frame per number; the numbers ascend."""
        ...


def open_reader(timeline: Timeline, name: ReaderName) -> Reader:
    """The reader of that name.

    Raises:
        ConfigError: If decord is asked for and not installed, or the file is not for it.
    """
    if name == "av":
        return AvReader(timeline)
    if decord is None:
        raise ConfigError("decord is not installed; read with PyAV (--reader av)")
    if not DecordReader.fits(timeline):
        raise ConfigError(
            f"{timeline.path} is not for decord, which is only exact for upright MP4 files of "
            "constant rate; read it with PyAV (--reader av)"
        )
    return DecordReader(timeline)


class AvReader:
    """PyAV: one decoder that goes on; a seek counts if a keyframe before the target comes out."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self._careful = False  # one thread, so that errors belong to the packet that was just read
        self._trusts_seeks = timeline.is_seekable
        self._shows_all = timeline.codec not in HIDING_CODECS
        self._close: Callable[[], object] = lambda: None
        self._open()

    def read(self, numbers: Sequence[int]) -> Iterator[Decoded]:
        """One frame per number; the numbers ascend."""
        for number in numbers:
            try:
                self._advance(number)
            except _DamageError:
                self._careful = True
                self._open()
                self._advance(number)
            yield Decoded(self._image(self._shown), self._is_held(number))

    def _is_held(self, number: int) -> bool:
        """Whether the frame at hand stands in for another one, which damage has spoiled."""
        return self._careful and self._shown.pts != self._timeline.pts[number]

    def _open(self) -> None:
        """Start at the beginning of the file, with a new decoder."""
        self._close()
        container = open_container(self._timeline.path)
        # else the file stays open until Python looks for reference cycles, of which PyAV has some
        self._close = weakref.finalize(self, container.close)
        self._container = container
        self._stream = container.streams[self._timeline.stream]
        self._stream.thread_type = "NONE" if self._careful else "AUTO"
        self._stream.codec_context.options = STRICT
        self._begin()

    def _begin(self) -> None:
        """Decode from where the container stands."""
        # not a method: a generator that knew this reader would keep its file open in a cycle
        self._decoded = _good_frames(self._container, self._stream, is_careful=self._careful)
        self._shown: Any = None  # latest good frame at or before the wanted time
        self._ahead: Any = None  # decoded, but after the wanted time
        self._at = -1

    def _advance(self, number: int) -> None:
        """Bring the frame on screen at the time of frame ``number`` into ``_shown``."""
        target = self._timeline.pts[number]
        key = self._timeline.keys[max(0, bisect_right(self._timeline.keys, number) - 1)]
        if number < self._at or (key - self._at > FAR and self._trusts_seeks):
            self._seek(number)
        if self._shown is None:
            self._shown = self._next()
            if self._shown is None:
                raise DataError(f"{self._timeline.path} has no decodable frame; download it again")
        self._at = number
        if self._ahead is not None and self._ahead.pts <= target:
            self._shown, self._ahead = self._ahead, None
        while self._shown.pts < target and self._ahead is None:
            frame = self._next()
            if frame is None:
                if not self._careful:  # threads lose frames at the end of a damaged file
                    raise _DamageError
                return
            if frame.pts <= target:
                self._shown = frame
            else:
                self._ahead = frame
        if self._shown.pts != target and not self._careful and self._shows_all:
            raise _DamageError

    def _next(self) -> Any:  # noqa: ANN401 - an av.VideoFrame
        return next(self._decoded, None)

    def _seek(self, number: int) -> None:
        """Start at a keyframe not after a frame, or else at the beginning of the file."""
        keys, pts = self._timeline.keys, self._timeline.pts
        place = bisect_right(keys, number) - 1
        tries = [place - 2**n + 1 for n in range(TRIES)] if self._trusts_seeks else []
        for key in (keys[n] for n in tries if n > 0):
            try:
                self._container.seek(int(pts[key]), stream=self._stream)
            except av.FFmpegError:  # some containers cannot
                break
            self._begin()
            first = self._next()
            if first is not None and first.key_frame and first.pts <= pts[key]:
                self._shown = first
                return
            if not self._careful:
                self._trusts_seeks = False  # it landed elsewhere, and so will the next one
                break
        self._open()

    def _image(self, frame: Any) -> Image:  # noqa: ANN401
        H, W = self._timeline.orientation.size(self._timeline.size_hw)
        image: Image = frame.to_ndarray(format="rgb24", width=W, height=H)
        return self._timeline.orientation.apply(image)


def _good_frames(container: Any, stream: Any, *, is_careful: bool) -> Iterator[Any]:  # noqa: ANN401
    """Frames in the order of display, without those that damage has spoiled.

    Raises:
        _DamageError: At the first damage, unless one is careful already.
        DataError: If the file makes no progress.
    """
    spoiled, idle = Spoiled(), 0
    source = Packets(container, stream)
    for packet in source:
        frames, is_broken = _decode(packet)
        if is_broken and not is_careful:
            raise _DamageError
        spoiled.see(packet, is_broken)
        good = [frame for frame in frames if spoiled.spares(frame)]
        yield from good
        idle = 0 if good else idle + 1
        if idle > IDLE_PACKETS:
            raise DataError(
                f"{container.name} gives no picture for {IDLE_PACKETS} packets in a row; it is "
                "damaged, download or re-encode it"
            )
    if source.broke_off and not is_careful:
        raise _DamageError


def _decode(packet: Any) -> tuple[list[Any], bool]:  # noqa: ANN401
    """The frames that a packet brings out, and whether damage was met."""
    try:
        frames = list(packet.decode())
    except av.FFmpegError:
        return [], True
    return frames, bool(packet.is_corrupt) or any(frame.is_corrupt for frame in frames)


class _DamageError(Exception):
    """The decoder met damage."""


class DecordReader:
    """decord, opened anew for every call: memory is freed, and nothing decodes ahead."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline

    @staticmethod
    def fits(timeline: Timeline) -> bool:
        """Whether decord is installed and known to read such a file exactly."""
        return (
            decord is not None
            and timeline.path.suffix.lower() in DECORD_FILES
            and timeline.rate is not None
            and timeline.orientation.is_plain
            and timeline.stream == 0
            and not timeline.missing
            and timeline.codec in DECORD_CODECS
            and timeline.pixel_format in DECORD_FORMATS
        )

    def read(self, numbers: Sequence[int]) -> Iterator[Decoded]:
        """One frame per number; the numbers ascend."""
        try:
            reader = decord.VideoReader(str(self._timeline.path))
            if len(reader) != len(self._timeline):
                raise DataError(f"decord counts {len(reader)} of {len(self._timeline)} frames")
            for number in numbers:
                yield Decoded(np.asarray(reader[number].asnumpy()))
        except (decord.DECORDError, RuntimeError) as err:
            raise DataError(
                f"decord cannot read {self._timeline.path} ({err}); read it with PyAV (--reader av)"
            ) from err
