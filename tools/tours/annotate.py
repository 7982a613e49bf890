"""Turn what every frame shows into queries of the VQ2D kind: where was this thing last seen?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Sight:
    """What a frame shows of one object.

    Attributes:
        box_xyxy: Extent of its visible pixels, half-open.
        pixels: Number of visible pixels.
        share: Area of that box over the area of the box of the whole object, 0..1; small when
            the object is cut off by the image border or hidden by another one.
    """

    box_xyxy: tuple[int, int, int, int]
    pixels: int
    share: float


@dataclass(frozen=True, slots=True)
class SeenFrame:
    """An annotated frame: its motion blur in pixels and the objects in sight, by title."""

    blur_px: float
    sights: Mapping[str, Sight]


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryConfig:
    """What counts as seen, and what makes a fair question. Lengths are in frames at 5 fps.

    Attributes:
        min_pixels: Visible pixels that a box of a track stands for, at least.
        min_share: Visible share in every frame of a track, at least.
        clear_pixels: Visible pixels in the best frame of an occurrence, at least.
        clear_share: Visible share in that frame, at least.
        clear_blur: Motion blur of that frame in pixels, at most.
        trace_pixels: Fewer pixels than this count as out of sight.
        min_track: Shortest track.
        min_absence: Shortest time out of sight between the track and the next sight.
        max_crop_blur: Longest motion blur of the frame of the visual crop, in pixels.
    """

    min_pixels: int = 150
    min_share: float = 0.2
    clear_pixels: int = 900
    clear_share: float = 0.75
    clear_blur: float = 12.0
    trace_pixels: int = 25
    min_track: int = 3
    min_absence: int = 8
    max_crop_blur: float = 4.0


@dataclass(frozen=True, slots=True)
class Occurrence:
    """Consecutive frames ``start`` .. ``end - 1`` in which an object is well in sight."""

    start: int
    end: int
    best_frame: int


@dataclass(frozen=True, slots=True)
class Question:
    """A query with its answer: the last occurrence before ``query_frame``."""

    title: str
    query_frame: int
    crop_frame: int
    track: range


def find_occurrences(
    frames: Sequence[SeenFrame], title: str, config: QueryConfig
) -> list[Occurrence]:
    """The runs of frames that show the object, each at least once clearly."""
    found: list[Occurrence] = []
    start = None
    for index in range(len(frames) + 1):
        sight = frames[index].sights.get(title) if index < len(frames) else None
        seen = (
            sight is not None
            and sight.pixels >= config.min_pixels
            and sight.share >= config.min_share
        )
        if seen and start is None:
            start = index
        elif not seen and start is not None:
            best = max(range(start, index), key=lambda k: _clearness(frames[k], title))
            if _is_clear(frames[best], title, config) and index - start >= config.min_track:
                found.append(Occurrence(start, index, best))
            start = None
    return found


def _is_clear(frame: SeenFrame, title: str, config: QueryConfig) -> bool:
    sight = frame.sights[title]
    return (
        sight.pixels >= config.clear_pixels
        and sight.share >= config.clear_share
        and frame.blur_px <= config.clear_blur
    )


def _clearness(frame: SeenFrame, title: str) -> float:
    sight = frame.sights[title]
    return sight.share**2 * float(np.sqrt(sight.pixels)) / (1 + frame.blur_px)


def ask(
    frames: Sequence[SeenFrame],
    titles: Sequence[str],
    *,
    count: int,
    seed: int,
    config: QueryConfig,
) -> list[Question]:
    """Up to ``count`` fair questions, about different objects as far as possible."""
    rng = np.random.default_rng([seed, 5])
    pools = [_questions_about(frames, title, config, rng) for title in titles]
    pools = [pool for pool in pools if pool]
    rng.shuffle(pools)
    chosen: list[Question] = []
    while len(chosen) < count and any(pools):
        for pool in pools:
            if pool and len(chosen) < count:
                chosen.append(pool.pop())
    return sorted(chosen, key=lambda question: question.query_frame)


def _questions_about(
    frames: Sequence[SeenFrame], title: str, config: QueryConfig, rng: np.random.Generator
) -> list[Question]:
    """One question per occurrence that is followed by an absence, in random order."""
    occurrences = find_occurrences(frames, title, config)
    questions: list[Question] = []
    for track in occurrences:
        absence = _absence_after(frames, title, track.end, config)
        crops = [
            other.best_frame
            for other in occurrences
            if other is not track and frames[other.best_frame].blur_px <= config.max_crop_blur
        ]
        if len(absence) < config.min_absence or not crops:
            continue
        query_frame = int(rng.integers(absence.start + 2, absence.stop))
        crop_frame = int(rng.choice(crops))
        questions.append(Question(title, query_frame, crop_frame, range(track.start, track.end)))
    return [questions[k] for k in rng.permutation(len(questions))]


def _absence_after(frames: Sequence[SeenFrame], title: str, end: int, config: QueryConfig) -> range:
    """Frames without a trace of the object, once it has left after ``end``."""

    def is_traced(index: int) -> bool:
        sight = frames[index].sights.get(title)
        return sight is not None and sight.pixels >= config.trace_pixels

    start = end
    while start < len(frames) and is_traced(start):
        start += 1
    stop = start
    while stop < len(frames) and not is_traced(stop):
        stop += 1
    leaving = start - end
    return range(start, stop) if leaving <= 3 else range(start, start)
