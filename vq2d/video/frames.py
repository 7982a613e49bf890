"""Frame-exact video reading: frame i at 5 fps is what a viewer sees i / 5 seconds into the file.

PyAV reads every file; decord is a choice for MP4 of constant frame rate. Both give the same bytes,
which the tests check, so the reader is no part of a video's fingerprint.
"""

from __future__ import annotations

import itertools
import logging
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ren_core.images import Image
from ren_core.stages import digest, file_fingerprint
from vq2d.video.index import read_timeline
from vq2d.video.readers import Reader, ReaderName, open_reader
from vq2d.video.timeline import CANONICAL_FPS, Timeline, as_rate, select_frames

logger = logging.getLogger(__name__)

CACHE_FRAMES = 64
CACHE_BYTES = 256 << 20


@dataclass(slots=True)
class _Decoder:
    """A reader, the frame where it stands, and how many it read for the last one asked of it."""

    reader: Reader
    at: int | None = None
    size: int = 1


class VideoFrames:
    """A ``FrameSource`` over a video file, with a bounded cache of decoded frames.

    Reading in order, backwards or at random gives the same frames. A backward pass decodes each
    stretch between keyframes once, as long as it has no more frames than the cache. There are two
    decoders, so that a pass forwards and one backwards, in step, do not hinder each other.

    Attributes:
        timeline: The index of the file.
        held: Frames, of those read so far, that cannot be decoded: the last good one stands in.
    """

    def __init__(
        self,
        timeline: Timeline,
        numbers: NDArray[np.int64],
        *,
        reader: ReaderName = "av",
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        H, W = timeline.size_hw
        self.timeline = timeline
        self.held: set[int] = set()
        self._numbers = numbers
        self._capacity = max(4, min(CACHE_FRAMES, cache_bytes // (3 * H * W)))
        self._cache: OrderedDict[int, Image] = OrderedDict()
        self._reader_name = reader
        self._decoders = [_Decoder(open_reader(timeline, reader))]  # the one used last comes last

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width of every frame, in pixels."""
        return self.timeline.size_hw

    @property
    def path(self) -> Path:
        """The video file."""
        return self.timeline.path

    @property
    def numbers(self) -> NDArray[np.int64]:
        """(N,) number in the file of each frame; one repeats where the file has gaps."""
        return self._numbers

    @property
    def duration(self) -> float:
        """How long the whole file plays, in seconds: its last frame is shown like the others."""
        rate = self.timeline.average_rate
        return len(self.timeline) / rate if rate else 1 / CANONICAL_FPS

    @cached_property
    def fingerprint(self) -> str:
        """Identity of the frames: the file's content and which of its frames are taken."""
        return digest({"file": file_fingerprint(self.path), "frames": self._numbers.tolist()})

    def __len__(self) -> int:
        return len(self._numbers)

    def __iter__(self) -> Iterator[Image]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, frame_idx: int) -> Image:
        if not 0 <= frame_idx < len(self):
            raise IndexError(f"frame {frame_idx} of {self.path}: it has {len(self)} frames")
        if frame_idx not in self._cache:
            self._decode(frame_idx)
        self._cache.move_to_end(frame_idx)
        return self._cache[frame_idx]

    def _decode(self, i: int) -> None:
        """Bring frame i into the cache, and with it more in the direction of reading."""
        places = {d.at: d for d in self._decoders if d.at is not None}
        before = [at for at in places if at < i]
        if before:
            decoder = places[max(before)]
            decoder.size = min(self._capacity, 2 * decoder.size) if i == max(before) + 1 else 1
            chunk = self._onwards(i, decoder.size)
        else:
            # backwards: from the keyframe on, which has to be decoded anyway
            first = max(self._segment(i).start, i - self._capacity + 1) if places else i
            chunk = range(first, i + 1)
            decoder = self._free_decoder()
            decoder.size = 1
        self._store(chunk, decoder.reader)
        decoder.at = chunk[-1]
        self._decoders.remove(decoder)
        self._decoders.append(decoder)

    def _onwards(self, i: int, size: int) -> range:
        """So many frames from i on, up to a keyframe."""
        stop = min(i + size, len(self))
        border = self._segment(stop).start if stop < len(self) else stop
        return range(i, border if border > i else stop)

    def _free_decoder(self) -> _Decoder:
        """A decoder that was not used yet, or else the one that was not used for longest."""
        if self._decoders[0].at is not None and len(self._decoders) < 2:
            reader = open_reader(self.timeline, self._reader_name)
            self._decoders.insert(0, _Decoder(reader))
        return self._decoders[0]

    def _segment(self, i: int) -> range:
        """The frames up to i that are decoded from the same keyframe as i."""
        keys = self.timeline.keys
        place = bisect_right(keys, self._numbers[i]) - 1
        first = keys[place] if place >= 0 else 0
        return range(int(np.searchsorted(self._numbers, first)), i + 1)

    def _store(self, chunk: range, reader: Reader) -> None:
        """Decode a chunk into the cache; frames that repeat in the file are decoded once."""
        indices = iter(chunk)
        groups = [
            (int(number), list(group))
            for number, group in itertools.groupby(indices, self._numbers.__getitem__)
        ]
        found = reader.read([number for number, _ in groups])
        for (_, group), decoded in zip(groups, found, strict=True):
            decoded.image.setflags(write=False)
            if decoded.is_held:
                self.held.update(group)
            for i in group:
                self._cache[i] = decoded.image
                self._cache.move_to_end(i)
            while len(self._cache) > self._capacity:
                self._cache.popitem(last=False)


def open_video(
    path: Path,
    fps: float = 5.0,
    *,
    reader: ReaderName = "av",
    cache_bytes: int = CACHE_BYTES,
) -> VideoFrames:
    """Frames of any video file at ``fps`` frames per second, as a player shows them.

    They are upright, in square pixels; what a person should know of the file is logged once.

    Raises:
        ConfigError: If ``fps`` is not positive, or the file is not for that reader.
        DataError: If the file is missing, no video, or holds no decodable frame.
    """
    timeline = read_timeline(path)
    for note in timeline.notes:
        logger.warning("%s: %s", path, note)
    numbers = select_frames(timeline, as_rate(fps))
    return VideoFrames(timeline, numbers, reader=reader, cache_bytes=cache_bytes)
