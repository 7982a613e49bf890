"""Frame-exact video reading: clip frame i is what a viewer sees i / 5 seconds into the clip.

decord reads constant-frame-rate clips in short-lived chunks (an idle decord reader decodes ahead
without bound); PyAV reads everything else and stands in where decord fails. Both give the same
bytes, which the tests check, so the reader is no part of a source's fingerprint.
"""

from __future__ import annotations

import itertools
import logging
import math
import weakref
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import av
import numpy as np
from numpy.typing import NDArray

from ren_core.errors import ConfigError, DataError
from ren_core.stages import digest, file_fingerprint
from vq2d.annotations import CANONICAL_FPS, Clip, version_folders
from vq2d.timeline import Timeline, exact_rate, select_frames
from vq2d.types import Image

try:
    import decord
except ImportError:
    decord = None

logger = logging.getLogger(__name__)

CACHE_FRAMES = 64
CACHE_BYTES = 256 << 20

DECORD_CODECS = ("h264", "hevc", "vp9")
DECORD_FORMATS = ("yuv420p", "yuvj420p")


def read_timeline(path: Path) -> Timeline:
    """Index a video file and decode its first frame.

    Raises:
        DataError: If the file is missing, truncated, no video, or its first frame is undecodable.
    """
    if not path.is_file():
        raise DataError(f"{path} is missing; check the path or download it again")
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise DataError(f"{path} has no video stream; expected a video file")
            stream = container.streams.video[0]
            first = next(container.decode(stream), None)
            if first is None or first.pts is None:
                raise DataError(f"{path} has no decodable frame; download or re-encode it")
            pts, keys = _uniform_index(path, stream, first.pts) or _packet_index(path)
            turned = first.rotation % 180 != 0
            return Timeline(
                path=path,
                pts=pts,
                keys=keys,
                time_base=stream.time_base,
                rate=exact_rate(pts, stream.time_base),
                size_hw=(first.width, first.height) if turned else (first.height, first.width),
                rotation=round(first.rotation / 90) % 4,
                codec=stream.codec_context.name,
                pixel_format=first.format.name,
            )
    except (av.FFmpegError, OSError) as err:
        raise DataError(
            f"{path} cannot be read as video ({err}); it may be truncated, download it again"
        ) from err


def _uniform_index(
    path: Path,
    stream: Any,  # noqa: ANN401 - av has no public stub for it
    first_pts: int,
) -> tuple[NDArray[np.int64], tuple[int, ...]] | None:
    """Index from the header of an MP4 of constant frame rate; None for any other file.

    Spares a pass over a full-scale video of gigabytes.
    """
    entries = list(getattr(stream, "index_entries", None) or ())
    if len(entries) < 2 or len(entries) != stream.frames:
        return None
    size = path.stat().st_size
    needed = max(entry.pos + entry.size for entry in entries)
    if needed > size:
        raise DataError(
            f"{path} is truncated ({size} of at least {needed} bytes); download it again"
        )
    steps = np.diff([entry.timestamp for entry in entries])
    if steps[0] <= 0 or (steps != steps[0]).any() or any(entry.is_discard for entry in entries):
        return None
    pts = first_pts + int(steps[0]) * np.arange(len(entries), dtype=np.int64)
    keys = tuple(n for n, entry in enumerate(entries) if entry.is_keyframe)
    return pts, keys or (0,)


def _packet_index(path: Path) -> tuple[NDArray[np.int64], tuple[int, ...]]:
    """Index from the packets of the whole file."""
    shown: dict[int, bool] = {}
    with av.open(str(path)) as container:
        for packet in container.demux(video=0):
            if packet.size == 0 or packet.is_discard:
                continue
            if packet.is_corrupt:
                raise DataError(f"{path} is truncated or damaged; download it again")
            if packet.pts is None:
                raise DataError(f"{path} has frames without time; re-encode it to MP4 with ffmpeg")
            shown[packet.pts] = packet.is_keyframe
    pts = sorted(shown)
    keys = tuple(n for n, time in enumerate(pts) if shown[time])
    return np.array(pts, np.int64), keys or (0,)


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


class VideoFrames:
    """A ``FrameSource`` over a video file, with a bounded cache of decoded frames.

    Reading in order, backwards or at random gives the same frames. A backward pass decodes each
    stretch between keyframes once, as long as it has no more frames than the cache.
    """

    def __init__(
        self,
        timeline: Timeline,
        numbers: NDArray[np.int64],
        *,
        use_decord: bool = True,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        H, W = timeline.size_hw
        self.timeline = timeline
        self._numbers: list[int] = numbers.tolist()
        self._capacity = max(4, min(CACHE_FRAMES, cache_bytes // (3 * H * W)))
        self._cache: OrderedDict[int, Image] = OrderedDict()
        self._last = -1  # frame read before
        self._run = 0  # frames read in order before
        fits = use_decord and DecordReader.fits(timeline)
        self._reader: Reader = DecordReader(timeline) if fits else AvReader(timeline)

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width of every frame, in pixels."""
        return self.timeline.size_hw

    @property
    def path(self) -> Path:
        """The video file."""
        return self.timeline.path

    @property
    def duration(self) -> float:
        """How long the whole file plays, in seconds: its last frame is shown like the others."""
        rate = self.timeline.average_rate
        return len(self.timeline) / rate if rate else 1 / CANONICAL_FPS

    @cached_property
    def fingerprint(self) -> str:
        """Identity of the frames: the file's content and which of its frames are taken."""
        return digest({"file": video_fingerprint(self.path), "frames": self._numbers})

    def __len__(self) -> int:
        return len(self._numbers)

    def __iter__(self) -> Iterator[Image]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, frame_idx: int) -> Image:
        if not 0 <= frame_idx < len(self):
            raise IndexError(f"frame {frame_idx} of {self.path}: it has {len(self)} frames")
        if frame_idx not in self._cache:
            self._fetch(self._chunk(frame_idx))
        self._run = self._run + 1 if frame_idx == self._last + 1 else 0
        self._last = frame_idx
        self._cache.move_to_end(frame_idx)
        return self._cache[frame_idx]

    def _chunk(self, i: int) -> range:
        """The frames to decode for frame i: more in the direction of reading, none for a jump."""
        if i < self._last:  # from the keyframe on, which has to be decoded anyway
            return range(max(self._segment(i).start, i - self._capacity + 1), i + 1)
        if i > self._last + 1:
            return range(i, i + 1)
        stop = min(i + min(self._capacity, 1 + self._run), len(self))
        border = self._segment(stop).start if stop < len(self) else stop
        return range(i, border if border > i else stop)

    def _segment(self, i: int) -> range:
        """The frames up to i that are decoded from the same keyframe as i."""
        keys = self.timeline.keys
        key = keys[max(0, bisect_right(keys, self._numbers[i]) - 1)]
        return range(int(np.searchsorted(self._numbers, key)), i + 1)

    def _fetch(self, chunk: range) -> None:
        try:
            self._store(chunk)
        except DataError as err:
            if not isinstance(self._reader, DecordReader):
                raise
            logger.warning("%s; reading on with PyAV", err)
            self._reader = AvReader(self.timeline)
            self._store(chunk)

    def _store(self, chunk: range) -> None:
        """Decode a chunk into the cache; frames that repeat in the file are decoded once."""
        indices = iter(chunk)
        groups = [
            (number, list(group))
            for number, group in itertools.groupby(indices, self._numbers.__getitem__)
        ]
        images = self._reader.read([number for number, _ in groups])
        for (_, group), image in zip(groups, images, strict=True):
            image.setflags(write=False)
            for i in group:
                self._cache[i] = image
                self._cache.move_to_end(i)
            while len(self._cache) > self._capacity:
                self._cache.popitem(last=False)


def video_fingerprint(path: Path) -> str:
    """Content identity of a video file."""
    return file_fingerprint(path)


def clip_file(root: Path, clip: Clip) -> Path | None:
    """The clip's own file, else its full-scale video, under the ego4d CLI's layout; else None."""
    folders = version_folders(root)
    names = [("full_scale", clip.video_uid)]
    if clip.clip_uid is not None:
        names.insert(0, ("clips", clip.clip_uid))
    paths = (folder / kind / f"{uid}.mp4" for kind, uid in names for folder in folders)
    return next((path for path in paths if path.is_file()), None)


def open_clip(root: Path, clip: Clip, *, use_decord: bool = True) -> VideoFrames:
    """Frames of a benchmark clip at its annotation rate.

    Args:
        root: Output directory of the ego4d CLI.
        clip: The clip; a file shorter than it gives fewer frames.
        use_decord: Read with decord where it fits the file.

    Raises:
        DataError: If neither the clip nor its video is there, or the file is damaged.
    """
    path = clip_file(root, clip)
    if path is None:
        whole = root / "v2" / "full_scale" / f"{clip.video_uid}.mp4"
        command = "pipelines/check_data.py prints the command that fetches it"
        if clip.clip_uid is None:
            raise DataError(
                f"this clip has no file of its own (its uid is null) and can only be cut from its "
                f"video, but {whole} is missing; {command}"
            )
        raise DataError(
            f"{root / 'v2' / 'clips' / f'{clip.clip_uid}.mp4'} is missing, and so is the video "
            f"that it could be cut from, {whole}; {command}"
        )
    timeline = read_timeline(path)
    return VideoFrames(timeline, clip_frames(timeline, clip), use_decord=use_decord)


def clip_frames(timeline: Timeline, clip: Clip) -> NDArray[np.int64]:
    """Frame numbers of the clip in its own file or, by its place there, in its whole video."""
    fps = _as_rate(clip.clip_fps)
    if timeline.path.stem == clip.clip_uid:
        return select_frames(timeline, fps)
    start = Fraction(clip.video_start_frame, CANONICAL_FPS)
    return select_frames(timeline, fps, start=start, count=clip.num_frames)


def open_video(path: Path, fps: float = 5.0, *, use_decord: bool = True) -> VideoFrames:
    """Frames of any video file at ``fps`` frames per second, upright as a player shows them.

    Raises:
        ConfigError: If ``fps`` is not positive.
        DataError: If the file is missing, truncated or no video.
    """
    timeline = read_timeline(path)
    return VideoFrames(timeline, select_frames(timeline, _as_rate(fps)), use_decord=use_decord)


def _as_rate(fps: float) -> Fraction:
    """The rate as a short fraction, free of binary rounding.

    >>> _as_rate(0.1)
    Fraction(1, 10)
    """
    if not (math.isfinite(fps) and fps > 0):
        raise ConfigError(f"fps must be positive, got {fps}")
    return Fraction(fps).limit_denominator(1001)
