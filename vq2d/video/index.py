"""The index of a video file: when each of its frames is shown, and where decoding can start."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from ren_core.errors import DataError
from vq2d.video.orientation import orientation_of
from vq2d.video.packets import STRICT, TRANSPORT_STREAM, Packets, open_container
from vq2d.video.recorded import recording_time
from vq2d.video.timeline import Timeline, exact_rate

IN_ORDER = 8
"""So many frames are looked at, whether they come in the order of their times."""
REORDERED = 4
"""So many frames at the end may have been stored before one that is shown earlier."""
TAIL_PACKETS = 300
"""So many packets after each of the last two keyframes are tried; the rest is believed."""
PROGRAM_STREAM = "mpeg"
"""FFmpeg's name of MPEG program streams, whose times are guessed anew after a seek."""
MP4 = "mov,mp4,m4a,3gp,3g2,mj2"
"""FFmpeg's name of the family; other files may have an index that damage has made wrong."""
HDR_TRANSFERS = {16: "PQ", 18: "HLG"}
"""FFmpeg's numbers of the transfer functions of high dynamic range."""


@dataclass(frozen=True, slots=True)
class _Index:
    """Times in ticks (N,), frame numbers of the keyframes, and what the file lacks or does."""

    pts: NDArray[np.int64]
    keys: tuple[int, ...]
    missing: int = 0
    restarts: bool = False
    broke_off: bool = False


def read_timeline(path: Path) -> Timeline:
    """Index a video file and decode its first frame.

    Raises:
        DataError: If the file is missing, no video, or holds no decodable frame.
    """
    if not path.is_file():
        raise DataError(f"{path} is missing; check the path or download it again")
    try:
        with open_container(path) as container:
            stream = _main_stream(path, container)
            first = _first_frame(path, container, stream)
            index = _header_index(path, stream, first.pts) or _packet_index(path, stream.index)
            promised_s = float((container.duration or 0) / av.time_base)
            return _timeline(path, stream, first, index, promised_s)
    except (av.FFmpegError, OSError) as err:
        raise DataError(
            f"{path} cannot be read as video ({err}); it may be truncated, download it again"
        ) from err


def _main_stream(path: Path, container: Any) -> Any:  # noqa: ANN401
    """The video stream with the most frames; attached pictures are none."""
    streams = [s for s in container.streams.video if not _is_attached(s)]
    if not streams:
        raise DataError(f"{path} has no video stream; expected a video file")
    return max(streams, key=lambda s: (s.frames or _length(s), -s.index))


def _is_attached(stream: Any) -> bool:  # noqa: ANN401
    """Whether a stream is a cover picture or thumbnails, which no player plays."""
    names = ("attached_pic", "timed_thumbnails")
    kinds = type(stream.disposition)
    return any(name in kinds.__members__ and stream.disposition & kinds[name] for name in names)


def _length(stream: Any) -> float:  # noqa: ANN401
    """About how many frames a stream has, where its header does not count them."""
    seconds = float((stream.duration or 0) * (stream.time_base or 0))
    return seconds * float(stream.average_rate or 0)


def _first_frame(path: Path, container: Any, stream: Any) -> Any:  # noqa: ANN401
    """The first frame that can be decoded; some more must come in the order of their times."""
    frames: list[Any] = []
    for packet in Packets(container, stream):
        with suppress(av.FFmpegError):
            frames += [f for f in packet.decode() if f.pts is not None and not f.is_corrupt]
        if len(frames) >= IN_ORDER:
            break
    if not frames:
        raise DataError(f"{path} has no decodable frame; download or re-encode it")
    if any(a.pts >= b.pts for a, b in pairwise(frames)):
        raise DataError(
            f"the times of {path} are out of order, as those of H.264 in AVI are; re-encode it to "
            "MP4 with ffmpeg"
        )
    return frames[0]


def _timeline(
    path: Path,
    stream: Any,  # noqa: ANN401
    first: Any,  # noqa: ANN401
    index: _Index,
    promised_s: float,
) -> Timeline:
    orientation = orientation_of(first)
    aspect = stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio or Fraction(1)
    size_hw = (first.height, max(1, round(first.width * aspect)))
    notes = []
    if index.missing:
        whole = len(index.pts) + index.missing
        notes.append(f"it holds only {len(index.pts)} of {whole} frames")
    lasts_s = float((index.pts[-1] - index.pts[0]) * stream.time_base)
    if not index.missing and promised_s - lasts_s > max(0.5, promised_s / 20):
        notes.append(
            f"its pictures last {lasts_s:.1f} s of the {promised_s:.1f} s that it promises"
        )
    # packets of transport streams get lost without a trace; elsewhere a camera may drop a frame
    least = 1.5 if stream.container.format.name == TRANSPORT_STREAM else 2.5
    if gap := _longest_gap(index.pts, stream.time_base, least):
        notes.append(f"frames are missing from {gap[0]:.1f} s to {gap[1]:.1f} s")
    if index.broke_off:
        notes.append("it cannot be read to its end")
    if index.restarts:
        notes.append("its time stamps start anew or jump in the middle; they are read as going on")
    if not orientation.is_exact:
        notes.append("it is turned by an odd angle; the nearest quarter turn is shown")
    if first.color_trc in HDR_TRANSFERS:
        kind = HDR_TRANSFERS[first.color_trc]
        notes.append(f"it has a high dynamic range ({kind}), read as if standard: colours are pale")
    return Timeline(
        path=path,
        pts=index.pts,
        keys=index.keys,
        time_base=stream.time_base,
        rate=exact_rate(index.pts, stream.time_base),
        size_hw=orientation.size(size_hw),
        orientation=orientation,
        codec=stream.codec_context.name,
        pixel_format=first.format.name,
        stream=stream.index,
        is_seekable=not index.restarts and stream.container.format.name != PROGRAM_STREAM,
        missing=index.missing,
        notes=tuple(notes),
        recorded_at=recording_time({**stream.metadata, **stream.container.metadata}),
    )


def _longest_gap(
    pts: NDArray[np.int64], time_base: Fraction, least: float
) -> tuple[float, float] | None:
    """Where a file of constant rate skips ``least`` usual steps or more, in seconds."""
    gaps = _gaps(pts, least)
    if len(gaps) == 0:
        return None
    at = max(gaps, key=lambda n: pts[n + 1] - pts[n])
    begin, end = ((pts[n] - pts[0]) * time_base for n in (at, at + 1))
    return float(begin), float(end)


def _gaps(pts: NDArray[np.int64], least: float) -> NDArray[np.int64]:
    """Frame numbers after which a file of constant rate skips time, in usual steps; none else."""
    steps = np.diff(pts)
    usual = np.median(steps) if len(steps) else 0
    is_constant = len(steps) and (np.abs(steps - usual) <= max(1, usual / 10)).mean() > 0.9
    return np.flatnonzero(steps > least * usual) if is_constant else np.zeros(0, np.int64)


def _header_index(path: Path, stream: Any, first_pts: int) -> _Index | None:  # noqa: ANN401
    """Index from the header of an MP4 of constant frame rate; None for any other file.

    Spares a pass over a full-scale video of gigabytes. Frames whose bytes are not in the file any
    more are missing.
    """
    if stream.container.format.name != MP4:
        return None
    entries = list(stream.index_entries or ())
    if len(entries) < 2 or len(entries) != stream.frames:
        return None
    steps = np.diff([entry.timestamp for entry in entries])
    if steps[0] <= 0 or (steps != steps[0]).any() or any(entry.is_discard for entry in entries):
        return None
    size = path.stat().st_size
    there = next(
        (n for n, entry in enumerate(entries) if entry.pos + entry.size > size), len(entries)
    )
    if there == 0:
        return None
    pts = first_pts + int(steps[0]) * np.arange(there, dtype=np.int64)
    keys = tuple(n for n, entry in enumerate(entries[:there]) if entry.is_keyframe)
    return _Index(pts, keys or (0,), missing=len(entries) - there)


def _packet_index(path: Path, stream_index: int) -> _Index:
    """Index from the packets of the whole file, without a tail that cannot be decoded."""
    shown: dict[int, bool] = {}
    tail: deque[Any] = deque(maxlen=TAIL_PACKETS)  # from the last keyframe on
    before = tail  # from the one before it up to that
    with open_container(path) as container:
        stream = container.streams[stream_index]
        source = Packets(container, stream)
        for packet in source:
            if packet.size == 0 or packet.is_discard:
                continue
            if packet.pts is None and container.format.name != TRANSPORT_STREAM:
                raise DataError(f"{path} has frames without time; re-encode it to MP4 with ffmpeg")
            if packet.pts is None:
                continue  # the second field of an interlaced picture
            if packet.is_keyframe:
                tail, before = deque(maxlen=TAIL_PACKETS), tail
            tail.append(packet)
            shown[packet.pts] = packet.is_keyframe
        promised, last = stream.frames, _last_decodable(stream, [*before, *tail])
    if not shown:
        raise DataError(f"{path} has no frames with a time; re-encode it to MP4 with ffmpeg")
    pts = sorted(shown)
    kept = [time for time in pts if last is None or time <= last]
    holes = _gaps(np.array(kept, np.int64), 1.5)
    if len(holes) and len(kept) - holes[-1] <= REORDERED:  # cut off before a frame shown earlier
        kept = kept[: holes[-1] + 1]
    keys = tuple(n for n, time in enumerate(kept) if shown[time])
    missing = max(promised, len(pts)) - len(kept)
    times = np.array(kept, np.int64)
    return _Index(times, keys or (0,), missing, source.restarts, source.broke_off)


def _last_decodable(stream: Any, tail: Iterable[Any]) -> int | None:  # noqa: ANN401
    """The time of the last whole frame of the last packets; None: unknown."""
    stream.codec_context.options = STRICT
    stream.codec_context.thread_type = "NONE"  # threads lose frames at the end
    times = []
    for packet in [*tail, None]:
        try:
            frames = stream.codec_context.decode(packet)
        except av.FFmpegError:
            continue
        times += [f.pts for f in frames if f.pts is not None and not f.is_corrupt]
    return max(times, default=None)
