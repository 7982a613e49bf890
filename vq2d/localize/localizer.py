"""The five stages for one query of one clip, in order, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ren_core.geometry import Boxes
from ren_core.images import Image
from vq2d.localize.encode import Matcher
from vq2d.localize.expand import more_query_tokens
from vq2d.localize.presets import VQ2DConfig
from vq2d.localize.query import ObjectTokens, object_tokens
from vq2d.localize.refine import keep_good, refine
from vq2d.localize.search import (
    FrameScores,
    find_candidates,
    score_frames,
    suppress_occurrence,
    suppressed_frames,
)
from vq2d.localize.tokens import TokenChunk
from vq2d.localize.track import choose, continues, join, track_candidate
from vq2d.masking.base import PromptableSegmenter, VideoTracker
from vq2d.types import Candidate, FrameSource, ResponseTrack, VisualQuery


@dataclass(frozen=True, slots=True)
class Question:
    """A query in the pixels of the video file.

    Attributes:
        picture: (H, W, 3) the frame that shows the object.
        box_xyxy: (4,) the object in it, pixels of ``picture``.
        search_end: One past the last frame searched.
        crop_frame: Clip frame of ``picture``; None if it is not from the clip.
    """

    picture: Image
    box_xyxy: Boxes
    search_end: int
    crop_frame: int | None


@dataclass(frozen=True, slots=True)
class Localization:
    """The answer and how it came about.

    Attributes:
        track: In frame pixels; None if nothing was found.
        scores: Best token of each searched frame, first search.
        candidates: All candidates of both searches, refined.
        seed: The candidate that the track started from.
        rounds: Searches that were made.
    """

    track: ResponseTrack | None
    scores: FrameScores
    candidates: tuple[Candidate, ...]
    seed: Candidate | None
    rounds: int


def question_of(query: VisualQuery, frames: FrameSource) -> Question:
    """An annotated query, scaled from original pixels to the file's and clamped to its length."""
    crop_frame = min(query.crop_frame, len(frames) - 1)
    return Question(
        picture=frames[crop_frame],
        box_xyxy=query.crop_box_in(frames.size_hw),
        search_end=query.search_end(len(frames)),
        crop_frame=query.crop_frame,
    )


class Localizer:
    """Answers questions about clips whose tokens exist; models stay loaded between them."""

    def __init__(
        self,
        matcher: Matcher,
        segmenter: PromptableSegmenter,
        tracker: VideoTracker,
        config: VQ2DConfig,
    ) -> None:
        self.matcher = matcher
        self.segmenter = segmenter
        self.tracker = tracker
        self.config = config

    def localize(
        self, question: Question, frames: FrameSource, chunks: Sequence[TokenChunk]
    ) -> Localization:
        """Where the object was last seen before ``question.search_end``."""
        query = object_tokens(
            question.picture, question.box_xyxy, self.matcher, self.segmenter, self.config.query
        )
        scores, candidates = self._search(question, frames, chunks, query.vectors, query)
        kept = keep_good(candidates, self.config.refine)
        own = own_occurrence(scores, question)
        first = self._first_track(kept, own, scores, frames, question)
        if first is None:
            return Localization(None, scores, tuple(candidates), None, 1)
        seed, track = first
        if not self.config.expand.rounds or track.end_frame >= question.search_end:
            return Localization(track, scores, tuple(candidates), seed, 1)

        best = max(c.similarity for c in candidates)
        tokens = self._expanded(track, frames, query.vectors)
        _, later = self._search(
            question, frames, chunks, tokens, query, start_frame=track.end_frame, best=best
        )
        second = choose(keep_good(later, self.config.refine), "last")
        if second is not None and self._accepts(second, seed):
            later_track, gap = self._track(second, frames, question), self.config.expand.join_gap
            if gap is not None and continues(track, later_track, gap):
                track = join(track, later_track)
            elif not _meets(later_track, own, scores):
                track, seed = later_track, second
        return Localization(track, scores, (*candidates, *later), seed, 2)

    def _search(
        self,
        question: Question,
        frames: FrameSource,
        chunks: Sequence[TokenChunk],
        tokens: Tensor,
        query: ObjectTokens,
        *,
        start_frame: int = 0,
        best: float | None = None,
    ) -> tuple[FrameScores, list[Candidate]]:
        """Stages 2 and 3 from ``start_frame`` on."""
        scores = score_frames(chunks, tokens, start_frame, question.search_end)
        if question.crop_frame is not None:
            scores = suppress_occurrence(
                scores,
                question.crop_frame,
                self.config.search.query_ratio,
                window=(start_frame, question.search_end),
            )
        refined = [
            refine(
                candidate,
                frames[candidate.frame_idx],
                tokens,
                query,
                matcher=self.matcher,
                segmenter=self.segmenter,
                config=self.config.refine,
            )
            for candidate in find_candidates(scores, self.config.search, best=best)
        ]
        return scores, [c for c in refined if c is not None]

    def _first_track(
        self,
        candidates: Sequence[Candidate],
        own: tuple[int, int] | None,
        scores: FrameScores,
        frames: FrameSource,
        question: Question,
    ) -> tuple[Candidate, ResponseTrack] | None:
        """The chosen candidate and its track; None without candidates.

        A track that only goes on with the occurrence in the query's own picture yields to that of
        another candidate, if there is one.
        """
        found: list[tuple[Candidate, ResponseTrack]] = []
        left = list(candidates)
        while (seed := choose(left, self.config.track.first)) is not None:
            track = self._track(seed, frames, question)
            found.append((seed, track))
            if not _meets(track, own, scores):
                return seed, track
            left = [c for c in left if not track.start_frame <= c.frame_idx < track.end_frame]
        return found[0] if found else None

    def _track(self, seed: Candidate, frames: FrameSource, question: Question) -> ResponseTrack:
        """Stage 4; a track that runs into the query's own picture is cut to what follows it."""
        track = track_candidate(seed, frames, self.tracker, question.search_end, self.config.track)
        crop = question.crop_frame
        if crop is not None and track.start_frame <= crop < seed.frame_idx:
            cut = crop + 1 - track.start_frame
            track = replace(track, start_frame=crop + 1, boxes_xyxy=track.boxes_xyxy[cut:])
        elif crop is not None and seed.frame_idx < crop < track.end_frame:
            track = replace(track, boxes_xyxy=track.boxes_xyxy[: crop - track.start_frame])
        return track

    def _expanded(self, track: ResponseTrack, frames: FrameSource, query_tokens: Tensor) -> Tensor:
        """Stage 5: the query's vectors and those of the track's good frames."""
        more = more_query_tokens(
            track,
            frames,
            query_tokens,
            matcher=self.matcher,
            segmenter=self.segmenter,
            query=self.config.query,
            config=self.config.expand,
        )
        return torch.cat([query_tokens, more])

    def _accepts(self, second: Candidate, first: Candidate) -> bool:
        assert second.refined_score is not None
        assert first.refined_score is not None
        return second.refined_score > self.config.expand.accept_ratio * first.refined_score


def own_occurrence(scores: FrameScores, question: Question) -> tuple[int, int] | None:
    """First and last searched frame of the occurrence that was pointed at, which is no answer.

    None if the object was not pointed at in a searched frame.
    """
    crop = question.crop_frame
    searched = crop is not None and crop < question.search_end
    return suppressed_frames(scores, crop) if searched else None


def _meets(track: ResponseTrack, own: tuple[int, int] | None, scores: FrameScores) -> bool:
    """Whether no searched frame lies between a track and the query's own occurrence.

    Args:
        track: What was found.
        own: First and last searched frame of that occurrence; None: it was not searched.
        scores: Of the whole search.
    """
    if own is None:
        return False
    searched = scores.frame_idx
    if track.end_frame > own[1]:
        between = (searched > own[1]) & (searched < track.start_frame)
    else:
        between = (searched < own[0]) & (searched >= track.end_frame)
    return not between.any()
