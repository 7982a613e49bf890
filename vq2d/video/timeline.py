"""Which frame of a video file is on screen at a given time: pure arithmetic on its timestamps."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ren_core.errors import ConfigError
from vq2d.video.orientation import Orientation

CANONICAL_FPS = 30
"""Frames per second of an ordinary video."""
EXACT_RATES = (5, CANONICAL_FPS)
"""At these rates frames are counted, not timed, so that rounded timestamps cannot shift them."""


@dataclass(frozen=True)
class Timeline:
    """When each frame of a video file is shown, found without decoding the file.

    Attributes:
        path: The file.
        pts: (N,) int64 ascending presentation times, in ticks of ``time_base`` seconds.
        keys: Ascending frame numbers at which decoding can start.
        time_base: Seconds per tick.
        rate: 5 or 30 if the file has exactly that constant rate, else None.
        size_hw: Height and width as shown: upright, in square pixels.
        orientation: How decoded frames are turned and mirrored for display.
        codec: Name of the codec.
        pixel_format: Name of the decoded pixel format.
        stream: Index in the file of the video stream that is read.
        is_seekable: Whether a seek to a keyframe can be trusted if that keyframe comes out.
        missing: Frames that the header promises and the file does not hold.
        notes: What a person should know of the file, one sentence each.
        recorded_at: When the recording began, if the file says so.
    """

    path: Path
    pts: NDArray[np.int64]
    keys: tuple[int, ...]
    time_base: Fraction
    rate: int | None
    size_hw: tuple[int, int]
    orientation: Orientation
    codec: str
    pixel_format: str
    stream: int = 0
    is_seekable: bool = True
    missing: int = 0
    notes: tuple[str, ...] = ()
    recorded_at: datetime | None = None

    def __len__(self) -> int:
        return len(self.pts)

    @property
    def average_rate(self) -> float:
        """Frames per second over the whole file; 0 for a single frame."""
        seconds = float((self.pts[-1] - self.pts[0]) * self.time_base)
        return (len(self) - 1) / seconds if seconds > 0 else 0.0


def exact_rate(pts: NDArray[np.int64], time_base: Fraction) -> int | None:
    """The one of ``EXACT_RATES`` that all timestamps keep to a tick or a millisecond, if any."""
    tolerance = min(1.0, float(Fraction(1, 1000) / time_base))
    for rate in EXACT_RATES:
        ideal = pts[0] + np.arange(len(pts)) * float(1 / (rate * time_base))
        if np.abs(pts - ideal).max() <= tolerance:
            return rate
    return None


def select_frames(
    timeline: Timeline, fps: Fraction, *, start: Fraction = Fraction(0), count: int | None = None
) -> NDArray[np.int64]:
    """Frame numbers of the file that are on screen at ``start + i / fps`` seconds.

    Args:
        timeline: The file.
        fps: Wanted frames per second.
        start: Seconds after the file's first frame.
        count: Wanted number of frames; fewer are returned if the file ends before.

    Returns:
        (n,) ascending frame numbers; a number repeats where the file has gaps.
    """
    if timeline.rate is None:
        unit, last = timeline.time_base, int(timeline.pts[-1] - timeline.pts[0])
    else:
        unit, last = Fraction(1, timeline.rate), len(timeline) - 1
    available = math.floor((last * unit - start) * fps) + 1
    n = max(0, available if count is None else min(count, available))
    marks = np.array([math.floor((start + i / fps) / unit) for i in range(n)], np.int64)
    if timeline.rate is not None:
        return marks
    after = np.searchsorted(timeline.pts, marks + timeline.pts[0], side="right")
    return (after - 1).astype(np.int64)


def as_rate(fps: float) -> Fraction:
    """The rate as a short fraction, free of binary rounding.

    >>> as_rate(0.1)
    Fraction(1, 10)
    """
    if not (math.isfinite(fps) and fps > 0):
        raise ConfigError(f"fps must be positive, got {fps}")
    return Fraction(fps).limit_denominator(1001)
