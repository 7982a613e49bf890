"""Stage 2: the best token of every frame, and the peaks of similarity over time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ren_core.configuration import Cosine, Count, Share, configuration
from vq2d.localize.chunks import Chunk
from vq2d.localize.merge import first_of_each
from vq2d.types import Candidate, FrameScores


@configuration(group="search")
class SearchConfig:
    """How peaks are found.

    Attributes:
        nms_ratio: Neighbours of a peak above this share of it belong to the peak.
        own_similarity: The query's own occurrence goes on over frames above this similarity.
        top_k: Most candidates kept.
        floor: Least similarity of a candidate; lowered to the best one if none reaches it.
        keep_ratio: Least similarity, as a share of the first search's best one.
        own_look: How much of a sight's similarity is its own; the rest is that of its region track.
    """

    nms_ratio: Share = 0.8
    own_similarity: Cosine = 0.8
    top_k: Count = 25
    floor: Cosine = 0.7
    keep_ratio: Share = 0.0
    own_look: Share = 0.75


def score_frames(
    chunks: Iterable[Chunk],
    query_tokens: Tensor,
    start_frame: int,
    end_frame: int,
    *,
    own_look: float,
) -> FrameScores:
    """Best match of every frame in [start_frame, end_frame).

    Args:
        chunks: Clip tokens in temporal order.
        query_tokens: (Q, D) unit vectors.
        start_frame: First clip frame searched.
        end_frame: One past the last.
        own_look: See ``SearchConfig``.
    """
    frames, similarities, points = [], [], []
    for chunk in chunks:
        if chunk.first_frame >= end_frame or chunk.last_frame < start_frame:
            continue
        found = chunk.similarities(query_tokens)
        best = own_look * found.own + (1 - own_look) * found.track
        owner = chunk.frame_idx
        order = np.lexsort((-best, owner))  # by frame, best token first; stable on ties
        first = first_of_each(owner, order)
        inside = (owner[first] >= start_frame) & (owner[first] < end_frame)
        frames.append(owner[first][inside])
        similarities.append(best[first][inside])
        points.append(chunk.points_xy[first][inside])
    if not frames:
        return FrameScores(
            np.zeros(0, np.int32), np.zeros(0, np.float32), np.zeros((0, 2), np.float32)
        )
    return FrameScores(
        np.concatenate(frames).astype(np.int32),
        np.concatenate(similarities).astype(np.float32),
        np.concatenate(points).astype(np.float32),
    )


def with_own_occurrence(
    scores: FrameScores, frame: int, similarity: float, *, window: tuple[int, int]
) -> FrameScores:
    """The scores, and which frames are the occurrence that the query's picture was taken from.

    That is the frame itself, and its neighbours both ways while they are similar enough. Nothing
    changes if the frame was not searched.

    Args:
        scores: Best token of each sampled frame; with a stride the frame itself may be none.
        frame: Clip frame of the query's picture.
        similarity: Least similarity of the frames that belong to it.
        window: First clip frame searched and one past the last.
    """
    if len(scores.frame_idx) == 0 or not window[0] <= frame < window[1]:
        return scores
    at = int(np.abs(scores.frame_idx - frame).argmin())
    low, high = extent(scores.similarity, at, similarity)
    own = range(int(scores.frame_idx[low]), int(scores.frame_idx[high - 1]) + 1)
    return replace(scores, own=own)


def find_candidates(
    scores: FrameScores, config: SearchConfig, *, best: float | None = None
) -> list[Candidate]:
    """Peaks that are good enough, in temporal order; see ``find_peaks``, ``good_candidates``."""
    return good_candidates(find_peaks(scores, config, config.top_k), config, best=best)


def find_peaks(scores: FrameScores, config: SearchConfig, most: int) -> list[Candidate]:
    """The highest peaks in temporal order, after suppression of each peak's surroundings.

    Args:
        scores: Best token of each frame.
        config: How far a peak reaches.
        most: Peaks at most.
    """
    answerable = scores.answerable
    left = answerable.copy()
    peaks: list[int] = []
    while len(left) and left.max() > 0 and len(peaks) < most:
        at = int(left.argmax())
        peaks.append(at)
        low, high = extent(left, at, config.nms_ratio * float(left[at]))
        left[low:high] = 0
    return [
        Candidate(
            frame_idx=int(scores.frame_idx[i]),
            point_xy=(float(scores.points_xy[i, 0]), float(scores.points_xy[i, 1])),
            similarity=float(answerable[i]),
        )
        for i in sorted(peaks)
    ]


def good_candidates(
    peaks: Sequence[Candidate], config: SearchConfig, *, best: float | None = None
) -> list[Candidate]:
    """The highest peaks that pass both floors, in temporal order.

    Args:
        peaks: In temporal order.
        config: Floors, and how many at most.
        best: Similarity of the best peak of an earlier search; peaks far below it are no
            candidates, even if that leaves none.
    """
    if not peaks:
        return []
    highest = max(peak.similarity for peak in peaks)
    floor = max(min(config.floor, highest), config.keep_ratio * max(highest, best or 0.0))
    good = [peak for peak in peaks if peak.similarity >= floor]
    top = sorted(good, key=lambda peak: -peak.similarity)[: config.top_k]
    return sorted(top, key=lambda peak: peak.frame_idx)


def extent(values: NDArray[np.float32], at: int, threshold: float) -> tuple[int, int]:
    """Half-open run around ``at`` whose other members exceed a threshold."""
    low, high = at, at + 1
    while low > 0 and values[low - 1] > threshold:
        low -= 1
    while high < len(values) and values[high] > threshold:
        high += 1
    return low, high
