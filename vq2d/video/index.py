"""The index of a video file: when each of its frames is shown, and where decoding can start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from ren_core.errors import DataError
from vq2d.video.timeline import Timeline, exact_rate


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
