"""Region tracks: the tokens of a stretch of frames, joined inside frames and over time.

A frame's crops see most things several times, and most things stay for a while. Tokens that are
alike and near each other in one frame become one sight; sights are linked from frame to frame, one
to one. A track keeps its mean and a few sights that differ from it. Of each of its sights there
remain the place, and how it is mixed from what the track keeps.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.optimize import linear_sum_assignment

from ren_core.configuration import Cosine, Share, configuration
from vq2d.localize.merge import (
    Floats,
    Integers,
    alike_and_near,
    first_of_each,
    merge_in_frame,
    sums,
    unit,
)

LINK_REACH = 1.5
"""How much further a thing may be from frame to frame than tokens of it are in one frame."""
SAME = 0.97
"""A vector at least this similar to one that a track keeps adds nothing to it."""
RIDGE = 0.001
"""Keeps a sight's mix small where the kept vectors are nearly dependent, as a mean of them is."""
MOST_KEPT = 4
SIGHTS_PER_VECTOR = 5
"""A track keeps its mean, and one vector more for so many sights: most tracks are short."""


@configuration(group="tokens.join")
class JoinConfig:
    """How tokens become region tracks.

    Attributes:
        enabled: Whether they do.
        similarity: Tokens of a frame at least this alike, and near, are one.
        link: A sight continues a track whose last one is near and at least this alike, above 0.
        near: What near is, as a share of the frame's longer side.
        gap: Searched frames for which a track may be out of sight.
        keep: Most vectors kept of a track: its mean, then its most different, first and last sight.
    """

    enabled: bool = False
    similarity: Cosine = 0.82
    link: Cosine = 0.65
    near: Share = 0.15
    gap: Annotated[int, Field(ge=0, le=100)] = 2
    keep: Annotated[int, Field(ge=1, le=MOST_KEPT)] = MOST_KEPT


@dataclass(frozen=True, slots=True)
class FrameTokens:
    """The tokens of all crops of a frame.

    Attributes:
        frame: Clip frame.
        vectors: (N, D) unit vectors, N >= 1.
        points_xy: (N, 2) frame pixels.
    """

    frame: int
    vectors: Floats
    points_xy: Floats


@dataclass(frozen=True, slots=True)
class RegionTracks:
    """The region tracks of a stretch of frames.

    Attributes:
        vectors: (V, D) unit vectors that tracks keep, those of a track together, its mean first.
        owner: (V,) track of each vector, ascending.
        frame_idx: (M,) clip frame of each sight, ascending.
        track: (M,) track of each sight.
        points_xy: (M, 2) place of each sight, frame pixels.
        mix: (M, 4) shares of the track's vectors, in their order, whose sum is nearest the sight.
    """

    vectors: Floats
    owner: Integers
    frame_idx: Integers
    track: Integers
    points_xy: Floats
    mix: Floats


@dataclass(frozen=True, slots=True)
class Sights:
    """What is seen, one vector a thing and frame.

    Attributes:
        vectors: (K, D) unit vectors.
        points_xy: (K, 2) frame pixels.
        track: (K,) track of each.
        counts: (K,) tokens that each stands for.
        seen_at: (K,) number of the searched frame, from 0.
    """

    vectors: Floats
    points_xy: Floats
    track: Integers
    counts: Integers
    seen_at: Integers

    def where(self, which: NDArray[np.bool_]) -> Sights:
        """Those for which (K,) is true."""
        return Sights(
            self.vectors[which],
            self.points_xy[which],
            self.track[which],
            self.counts[which],
            self.seen_at[which],
        )


def join_tokens(
    tokens: Iterable[FrameTokens], longer_side: int, config: JoinConfig
) -> RegionTracks:
    """Join the tokens of some frames into region tracks.

    Args:
        tokens: Of each searched frame, in temporal order; at least one.
        longer_side: Of the frames, pixels.
        config: What is joined.
    """
    builder = _TrackBuilder(longer_side, config)
    for of_frame in tokens:
        builder.add(of_frame)
    return builder.finish()


class _TrackBuilder:
    """Region tracks that grow by one searched frame after the other."""

    def __init__(self, longer_side: int, config: JoinConfig) -> None:
        self._config = config
        self._near = config.near * longer_side
        self._frames: list[int] = []
        self._sights: list[Sights] = []
        self._alive: Sights | None = None  # the last sight of every track that may go on
        self._num_tracks = 0

    def add(self, tokens: FrameTokens) -> None:
        """Take the next searched frame."""
        merged = merge_in_frame(
            tokens.vectors, tokens.points_xy, self._near, self._config.similarity
        )
        number = len(self._frames)
        found = Sights(
            merged.vectors,
            merged.points_xy,
            self._link(merged.vectors, merged.points_xy),
            merged.counts,
            np.full(len(merged.counts), number, np.int32),
        )
        waiting = []
        if self._alive is not None:
            recent = self._alive.seen_at >= number - self._config.gap
            waiting = [self._alive.where(recent & ~np.isin(self._alive.track, found.track))]
        self._alive = _together([*waiting, found])
        self._frames.append(tokens.frame)
        self._sights.append(found)

    def finish(self) -> RegionTracks:
        """The tracks of all frames."""
        sights = _together(self._sights)
        vectors, kept = _kept(sights, self._num_tracks, self._config.keep)
        return RegionTracks(
            vectors=vectors[kept],
            owner=np.nonzero(kept)[0].astype(np.int32),
            frame_idx=np.array(self._frames, np.int32)[sights.seen_at],
            track=sights.track,
            points_xy=sights.points_xy,
            mix=_mixes(sights, vectors, kept),
        )

    def _link(self, vectors: Floats, points_xy: Floats) -> Integers:
        """(K,) the track that each sight continues, one to one, or that it starts."""
        track = np.full(len(vectors), -1, np.int32)
        alive = self._alive
        if alive is not None:
            likeness = vectors @ alive.vectors.T
            rows, columns = alike_and_near(
                likeness,
                self._config.link,
                points_xy,
                alive.points_xy,
                LINK_REACH * self._near,
            )
            worth = np.zeros_like(likeness)
            worth[rows, columns] = likeness[rows, columns]
            rows, columns = linear_sum_assignment(worth, maximize=True)
            good = worth[rows, columns] > 0
            track[rows[good]] = alive.track[columns[good]]
        new = track < 0
        track[new] = self._num_tracks + np.arange(new.sum())
        self._num_tracks += int(new.sum())
        return track


def _kept(sights: Sights, count: int, keep: int) -> tuple[Floats, NDArray[np.bool_]]:
    """Mean, most different, first and last sight (T, 4, D) of each track, and which are kept.

    A vector is kept as far as it differs from those that are kept before it.
    """
    track, vectors = sights.track, sights.vectors
    means = unit(sums(vectors * sights.counts[:, None], track, count))
    typical = np.einsum("md,md->m", vectors, means[track])
    order = np.arange(len(track))
    picks = [first_of_each(track, np.lexsort((rank, track))) for rank in (typical, order, -order)]
    candidates = np.stack([means, *(vectors[pick] for pick in picks)], axis=1)
    likeness = candidates @ candidates.transpose(0, 2, 1)
    most = np.minimum(keep, 1 + np.bincount(track, minlength=count) // SIGHTS_PER_VECTOR)
    kept = np.zeros(candidates.shape[:2], bool)
    kept[:, 0] = True
    for k in range(1, MOST_KEPT):
        known = np.where(kept[:, :k], likeness[:, k, :k], -1).max(axis=1) >= SAME
        kept[:, k] = ~known & (kept.sum(axis=1) < most)
    return candidates, kept


def _mixes(sights: Sights, vectors: Floats, kept: NDArray[np.bool_]) -> Floats:
    """(M, 4) least-squares shares of a track's kept vectors in each sight, the kept ones first."""
    track = sights.track
    likeness = np.zeros((len(track), MOST_KEPT), np.float32)
    for k in range(MOST_KEPT):
        has = kept[track, k]
        likeness[has, k] = np.einsum("md,md->m", sights.vectors[has], vectors[track[has], k])
    both = kept[:, :, None] & kept[:, None]
    gram = np.where(both, vectors @ vectors.transpose(0, 2, 1), 0)
    gram += RIDGE * np.eye(MOST_KEPT, dtype=np.float32)
    shares: Floats = np.linalg.solve(gram[track], likeness[:, :, None])[:, :, 0]
    order = np.argsort(~kept, axis=1, kind="stable")
    return np.take_along_axis(shares, order[track], axis=1)


def _together(parts: Sequence[Sights]) -> Sights:
    names = ("vectors", "points_xy", "track", "counts", "seen_at")
    return Sights(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))
