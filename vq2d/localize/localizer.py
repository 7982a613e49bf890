"""The five stages for one query of one clip, in order, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vq2d.localize.chunks import Chunk
from vq2d.localize.expand import more_query_vectors
from vq2d.localize.hunt import Hunt
from vq2d.localize.models import Models
from vq2d.localize.presence import Evidence, evidence_of, probability
from vq2d.localize.presets import VQ2DConfig
from vq2d.localize.query import ObjectTokens, object_tokens
from vq2d.localize.refine import keep_good, refine
from vq2d.localize.search import (
    find_peaks,
    good_candidates,
    score_frames,
    with_own_occurrence,
)
from vq2d.localize.track import choose, continues, cut_at, join, track_candidate
from vq2d.types import (
    Candidate,
    FrameScores,
    FrameSource,
    Localization,
    ObjectView,
    Question,
    ResponseTrack,
    VisualQuery,
)


@dataclass(frozen=True, slots=True)
class Searched:
    """What one search found.

    Attributes:
        scores: Best token of each searched frame.
        candidates: In temporal order, refined; those without anything to segment are left out.
        evidence: What speaks for the thing's presence; None if nothing does.
    """

    scores: FrameScores
    candidates: tuple[Candidate, ...]
    evidence: Evidence | None


@dataclass(frozen=True, slots=True)
class Occurrence:
    """A candidate and the track that starts from it."""

    seed: Candidate
    track: ResponseTrack


def question_of(query: VisualQuery, frames: FrameSource) -> Question:
    """An annotated query, scaled from original pixels to the file's and clamped to its length."""
    crop_frame = min(query.crop_frame, len(frames) - 1)
    return Question(
        views=(ObjectView(frames[crop_frame], query.crop_box_in(frames.size_hw)),),
        search_end=query.search_end(len(frames)),
        crop_frame=crop_frame,
    )


class Localizer:
    """Answers questions about clips whose tokens exist; models stay loaded between them."""

    def __init__(self, models: Models, config: VQ2DConfig) -> None:
        self.models = models
        self.config = config

    @property
    def networks(self) -> str:
        """Engine, precision and device that compute the networks."""
        return str(self.models.encoder.ren.compute)

    def localize(
        self, question: Question, frames: FrameSource, chunks: Sequence[Chunk]
    ) -> Localization:
        """Where the object was last seen before ``question.search_end``."""
        hunt = self.hunt(question, frames, chunks)
        found = self.follow(hunt, self.search(hunt, hunt.target.vectors))
        held = [i for chunk in chunks for i in chunk.held if i < question.search_end]
        return replace(found, held=stretches(held))

    def candidates(
        self, question: Question, frames: FrameSource, chunks: Sequence[Chunk]
    ) -> Searched:
        """Where the object may be before ``question.search_end``: the first search, no track."""
        hunt = self.hunt(question, frames, chunks)
        return self.search(hunt, hunt.target.vectors)

    def hunt(self, question: Question, frames: FrameSource, chunks: Sequence[Chunk]) -> Hunt:
        """Stage 1, the question: what the object looks like, and where it is looked for."""
        return Hunt(question, self.target(question.views), frames, chunks)

    def target(self, views: Sequence[ObjectView]) -> ObjectTokens:
        """What an object in some pictures looks like."""
        return object_tokens(views, self.models, self.config.query)

    def follow(self, hunt: Hunt, found: Searched, *, expand: bool = True) -> Localization:
        """Stages 4 and 5: the track of the chosen candidate, and what more searches add.

        Each search is of what follows the track, until it finds no later one.

        Args:
            hunt: What is hunted, and where.
            found: The first search.
            expand: Whether there are more searches, if the configuration has them.
        """
        scores, candidates = found.scores, found.candidates
        present = probability(found.evidence, self.config.presence)
        occurrence = self._first_track(hunt, keep_good(candidates, self.config.refine), scores)
        if occurrence is None:
            return Localization(None, scores, candidates, None, 1, present=present)
        best = max(c.similarity for c in candidates)
        searches = 1
        for _ in range(self.config.expand.rounds if expand else 0):
            if occurrence.track.end_frame >= hunt.question.search_end:
                break
            later = self._search_after(hunt, occurrence.track, best)
            searches, candidates = searches + 1, (*candidates, *later)
            following = self._later(hunt, occurrence, later, scores)
            if following is None:
                break
            occurrence = following
        return Localization(
            occurrence.track, scores, candidates, occurrence.seed, searches, present=present
        )

    def _search_after(self, hunt: Hunt, track: ResponseTrack, best: float) -> tuple[Candidate, ...]:
        """Stages 2 and 3 once more: what follows a track is searched with what it shows."""
        more = more_query_vectors(track, hunt, self.models, self.config.query, self.config.expand)
        vectors = torch.cat([hunt.target.vectors, more])
        return self.search(hunt, vectors, start_frame=track.end_frame, best=best).candidates

    def _later(
        self,
        hunt: Hunt,
        occurrence: Occurrence,
        candidates: Sequence[Candidate],
        scores: FrameScores,
    ) -> Occurrence | None:
        """The later occurrence that some candidates show; None if none of them is accepted."""
        floor = self.config.expand.floor
        good = [
            c
            for c in keep_good(candidates, self.config.refine)
            if (c.refined_score or 0.0) >= floor
        ]
        seed = choose(good, "last")
        if seed is None or not self._accepts(seed, occurrence.seed):
            return None
        track, gap = self._track(hunt, seed), self.config.expand.join_gap
        if gap is not None and continues(occurrence.track, track, gap):
            return Occurrence(occurrence.seed, join(occurrence.track, track))
        if adjoins(track, scores.own, scores.frame_idx):
            return None
        return Occurrence(seed, track)

    def search(
        self,
        hunt: Hunt,
        query_vectors: Tensor,
        *,
        start_frame: int = 0,
        best: float | None = None,
    ) -> Searched:
        """Stages 2 and 3 from ``start_frame`` on.

        Args:
            hunt: What is hunted, and where.
            query_vectors: (Q, D) unit vectors.
            start_frame: First clip frame searched.
            best: Similarity of the best peak of an earlier search.
        """
        scores, peaks = self.peaks(
            hunt.question, hunt.chunks, query_vectors, start_frame=start_frame
        )
        candidates = good_candidates(peaks, self.config.search, best=best)
        refined = self.refine(hunt, candidates, query_vectors)
        return Searched(scores, tuple(refined), evidence_of(peaks, refined))

    def peaks(
        self,
        question: Question,
        chunks: Sequence[Chunk],
        query_vectors: Tensor,
        *,
        start_frame: int = 0,
    ) -> tuple[FrameScores, list[Candidate]]:
        """Stage 2: the best token of every frame, and the peaks over time; needs no picture."""
        config = self.config.search
        window = (start_frame, question.search_end)
        scores = score_frames(chunks, query_vectors, *window, own_look=config.own_look)
        if question.crop_frame is not None:
            scores = with_own_occurrence(
                scores, question.crop_frame, config.own_similarity, window=window
            )
        return scores, find_peaks(scores, config, config.top_k)

    def refine(
        self, hunt: Hunt, candidates: Sequence[Candidate], query_vectors: Tensor
    ) -> list[Candidate]:
        """Stage 3: boxes and refined scores; candidates with nothing to segment are left out."""
        return refine(candidates, hunt, query_vectors, self.models, self.config.refine)

    def _first_track(
        self, hunt: Hunt, candidates: Sequence[Candidate], scores: FrameScores
    ) -> Occurrence | None:
        """The chosen candidate and its track; None without candidates.

        A track that only goes on with the query's own occurrence yields to that of another
        candidate, if there is one.
        """
        found: list[Occurrence] = []
        left = list(candidates)
        while (seed := choose(left, self.config.track.first)) is not None:
            track = self._track(hunt, seed)
            found.append(Occurrence(seed, track))
            if not adjoins(track, scores.own, scores.frame_idx):
                return found[-1]
            left = [c for c in left if not track.holds(c.frame_idx)]
        return found[0] if found else None

    def _track(self, hunt: Hunt, seed: Candidate) -> ResponseTrack:
        """Stage 4; a track that runs into the query's own picture is cut to the seed's side."""
        question = hunt.question
        track = track_candidate(
            seed, hunt.frames, self.models.tracker, question.search_end, self.config.track
        )
        crop_frame = question.crop_frame
        return track if crop_frame is None else cut_at(track, crop_frame, seed.frame_idx)

    def _accepts(self, second: Candidate, first: Candidate) -> bool:
        assert second.refined_score is not None
        assert first.refined_score is not None
        return second.refined_score > self.config.expand.accept_ratio * first.refined_score


def stretches(frames: Sequence[int], most: int = 8) -> tuple[range, ...]:
    """Ascending frame numbers as stretches; a stride of up to ``most`` does not part them.

    >>> stretches([3, 5, 7, 40])
    (range(3, 8), range(40, 41))
    """
    found: list[range] = []
    for frame in frames:
        if found and frame - found[-1].stop < most:
            found[-1] = range(found[-1].start, frame + 1)
        else:
            found.append(range(frame, frame + 1))
    return tuple(found)


def adjoins(track: ResponseTrack, own: range | None, searched: NDArray[np.int32]) -> bool:
    """Whether no searched frame lies between a track and the query's own occurrence.

    Args:
        track: What was found.
        own: Clip frames of that occurrence; None: it was not searched.
        searched: (F,) all searched clip frames.
    """
    if own is None:
        return False
    if track.end_frame >= own.stop:
        between = (searched >= own.stop) & (searched < track.start_frame)
    else:
        between = (searched < own.start) & (searched >= track.end_frame)
    return not between.any()
