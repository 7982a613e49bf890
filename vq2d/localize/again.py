"""Peaks of joined tokens, looked at again: frames about them are encoded anew, nothing is joined.

Joined tokens tell well when a thing may be in sight, and less well in which of these frames, and at
which point, it looks most like the query.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from vq2d.localize.encode import TokenEncoder
from vq2d.localize.search import SearchConfig, extent
from vq2d.types import Candidate, FrameScores, FrameSource
from vq2d.video.crops import Crop, frame_crops

APART = 2
"""Frames that are looked at for one peak are at least so many searched frames apart."""
LEAST = 0.9
"""And have at least this share of the peak's similarity."""


@dataclass(frozen=True, slots=True)
class _Look:
    """A window of a frame, on behalf of a peak (its place in their list)."""

    peak: int
    frame_idx: int
    window: Crop


def look_again(
    peaks: Sequence[Candidate],
    scores: FrameScores,
    frames: FrameSource,
    query_vectors: Tensor,
    encoder: TokenEncoder,
    crop_factors: Sequence[int],
    config: SearchConfig,
) -> list[Candidate]:
    """The peaks at the best token of the best frame about each, with its similarity.

    Args:
        peaks: In temporal order.
        scores: That they are peaks of.
        frames: The clip.
        query_vectors: (Q, D) unit vectors.
        encoder: Makes the tokens.
        crop_factors: Tilings of a frame; of each, the window that holds the thing is encoded.
        config: How far a peak reaches, and how many frames of it are looked at.
    """
    windows = frame_crops(frames.size_hw, crop_factors)
    looks = [
        _Look(i, int(scores.frame_idx[at]), window)
        for i, peak in enumerate(peaks)
        for at in moments(peak, scores, config)
        for window in windows
        if window.holds(scores.points_xy[at].tolist())
    ]
    if not looks:
        return []
    found = encoder.regions([look.window.cut(frames[look.frame_idx]) for look in looks])
    best: dict[int, Candidate] = {}
    for look, tokens in zip(looks, found, strict=True):
        similarity = (tokens.vectors @ query_vectors.T).amax(dim=1)
        token = int(similarity.argmax())
        x, y = look.window.points_to_frame(tokens.points_xy[token])
        seen = replace(
            peaks[look.peak],
            frame_idx=look.frame_idx,
            similarity=float(similarity[token]),
            point_xy=(float(x), float(y)),
        )
        if look.peak not in best or seen.similarity > best[look.peak].similarity:
            best[look.peak] = seen
    return sorted(best.values(), key=lambda peak: peak.frame_idx)


def moments(peak: Candidate, scores: FrameScores, config: SearchConfig) -> list[int]:
    """Places in ``scores`` of the frames of a peak that are worth a look, the best one first."""
    values = scores.answerable
    at = int(np.searchsorted(scores.frame_idx, peak.frame_idx))
    low, high = extent(values, at, max(LEAST, config.nms_ratio) * float(values[at]))
    chosen: list[int] = []
    for i in sorted(range(low, high), key=lambda i: -values[i]):
        if all(abs(i - other) >= APART for other in chosen):
            chosen.append(i)
        if len(chosen) == config.look_again:
            break
    return chosen
