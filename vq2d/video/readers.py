"""Two decoders behind one interface, PyAV and decord: frames of a file by number."""

from __future__ import annotations

import weakref
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import av
import numpy as np

from ren_core.errors import DataError
from ren_core.images import Image
from vq2d.video.timeline import Timeline

try:
    import decord
except ImportError:
    decord = None

DECORD_CODECS = ("h264", "hevc", "vp9")
DECORD_FORMATS = ("yuv420p", "yuvj420p")


class Reader(Protocol):
    """Decodes frames of one file by number."""

    def read(self, numbers: Sequence[int]) -> Iterator[Image]:
        """One upright RGB image per frame number; the numbers ascend."""
        ...


class AvReader:
    """PyAV: exact for every file; keeps its place, so that reading on costs no seek."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self._container = av.open(str(timeline.path))
        # else the file stays open until Python looks for reference cycles, of which PyAV has some
        weakref.finalize(self, self._container.close)
        self._stream = self._container.streams.video[0]
        self._stream.thread_type = "AUTO"
        self._decoded: Iterator[Any] = self._container.decode(self._stream)
        self._shown: Any = None  # latest frame at or before the wanted time
        self._ahead: Any = None  # decoded, but after the wanted time
        self._at = 0

    def read(self, numbers: Sequence[int]) -> Iterator[Image]:
        """One upright RGB image per frame number; the numbers ascend."""
        for number in numbers:
            try:
                self._advance(number)
            except (av.FFmpegError, StopIteration) as err:
                raise DataError(
                    f"{self._timeline.path} cannot be decoded at its frame {number} "
                    f"({err or 'end of file'}); download or re-encode it"
                ) from err
            yield self._image(self._shown)

    def _advance(self, number: int) -> None:
        """Bring the frame on screen at the time of frame ``number`` into ``_shown``."""
        target = self._timeline.pts[number]
        key_place = bisect_right(self._timeline.keys, number)
        key = self._timeline.keys[max(0, key_place - 1)]
        if self._shown is None or self._at > number or key - self._at > 16:
            self._seek(key_place, target)
        self._at = number
        if self._ahead is not None and self._ahead.pts <= target:
            self._shown, self._ahead = self._ahead, None
        while self._shown.pts < target and self._ahead is None:
            frame = next(self._decoded)
            if frame.pts <= target:
                self._shown = frame
            else:
                self._ahead = frame

    def _seek(self, key_place: int, target: np.int64) -> None:
        """Start at a keyframe whose first decoded frame is not after ``target``."""
        for key in reversed(self._timeline.keys[:key_place] or (0,)):
            self._container.seek(int(self._timeline.pts[key]), stream=self._stream)
            self._decoded = self._container.decode(self._stream)
            self._shown, self._ahead = next(self._decoded), None
            if self._shown.pts <= target:
                return
        raise DataError(f"{self._timeline.path} has no keyframe to start from; re-encode it")

    def _image(self, frame: Any) -> Image:  # noqa: ANN401 - an av.VideoFrame
        H, W = self._timeline.size_hw
        turns = self._timeline.rotation
        if turns % 2:
            H, W = W, H
        image: Image = frame.to_ndarray(format="rgb24", width=W, height=H)
        return np.ascontiguousarray(np.rot90(image, turns)) if turns else image


class DecordReader:
    """decord, opened anew for every call: memory is freed, and nothing decodes ahead."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline

    @staticmethod
    def fits(timeline: Timeline) -> bool:
        """Whether decord is installed and known to read such a file exactly."""
        return (
            decord is not None
            and timeline.rate is not None
            and timeline.rotation == 0
            and timeline.codec in DECORD_CODECS
            and timeline.pixel_format in DECORD_FORMATS
        )

    def read(self, numbers: Sequence[int]) -> Iterator[Image]:
        """One RGB image per frame number; the numbers ascend."""
        try:
            reader = decord.VideoReader(str(self._timeline.path))
            if len(reader) != len(self._timeline):
                raise DataError(f"decord counts {len(reader)} of {len(self._timeline)} frames")
            for number in numbers:
                yield reader[number].asnumpy()
        except (decord.DECORDError, RuntimeError) as err:
            raise DataError(f"decord cannot read {self._timeline.path}: {err}") from err
