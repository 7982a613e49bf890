"""Does a clip show a thing at all? What the first search finds for it, without a track."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from vq2d.localize.chunks import Chunk
from vq2d.localize.localizer import Localizer
from vq2d.localize.presets import VQ2DConfig
from vq2d.types import FrameSource, Question, ResponseTrack


@dataclass(frozen=True, slots=True)
class Evidence:
    """How much speaks for the presence of a thing in a clip.

    Attributes:
        similarity: Best one of the searched frames, without the question's own occurrence; None if
            there is no such frame.
        refined: Best refined score of a candidate; None if there is no candidate with a box.
        search_frames: Clip frames before the end of the search.
        seconds: Processor time of the question, without the tokens of the clip.
    """

    similarity: float | None
    refined: float | None
    search_frames: int
    seconds: float


def asked_elsewhere(question: Question, num_frames: int) -> Question:
    """The same question of another clip of ``num_frames`` frames, which has no own occurrence."""
    return replace(question, crop_frame=None, search_end=min(question.search_end, num_frames))


def find_evidence(
    localizer: Localizer, question: Question, frames: FrameSource, chunks: Sequence[Chunk]
) -> Evidence:
    """Search a clip for a thing and refine what is found (stages 2 and 3)."""
    started = time.process_time()
    found = localizer.candidates(question, frames, chunks)
    similarity = found.scores.similarity[~found.scores.is_own]
    refined = [c.refined_score for c in found.candidates if c.refined_score is not None]
    return Evidence(
        similarity=float(similarity.max()) if len(similarity) else None,
        refined=max(refined, default=None),
        search_frames=question.search_end,
        seconds=time.process_time() - started,
    )


def missed_floor(track: ResponseTrack, config: VQ2DConfig) -> float | None:
    """The least score of a believable answer, if the track's is below; None if it is not.

    The floors of search and refinement are lowered for the best candidate, so that there is an
    answer to every query; whoever asks for one object wants to know.
    """
    floor = config.refine.floor if config.refine.crop_factors else config.search.floor
    return floor if track.score < floor else None
