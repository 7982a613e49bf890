"""The evidence for a thing in a clip: what of a search counts."""

from __future__ import annotations

import numpy as np
import pytest

from vq2d.localize.localizer import Searched
from vq2d.localize.presence import asked_elsewhere, find_evidence
from vq2d.types import Candidate, FrameScores, ObjectView, Question

VIEW = ObjectView(np.zeros((8, 8, 3), np.uint8), np.float32([0, 0, 4, 4]))
QUESTION = Question((VIEW,), 6, 1)


class FixedSearch:
    def __init__(self, similarity, own=None, refined=()):
        frames = np.arange(len(similarity), dtype=np.int32)
        points = np.zeros((len(similarity), 2), np.float32)
        scores = FrameScores(frames, np.float32(similarity), points, own)
        candidates = tuple(Candidate(0, (0.0, 0.0), 0.5, refined_score=r) for r in refined)
        self.found = Searched(scores, candidates)

    def candidates(self, question, frames, chunks):
        return self.found


@pytest.mark.parametrize(
    ("search", "similarity", "refined"),
    [
        (FixedSearch([0.2, 0.9, 0.5], refined=[0.3, 0.6]), 0.9, 0.6),
        (FixedSearch([0.2, 0.9, -0.5], own=range(0, 2), refined=[None]), -0.5, None),
        (FixedSearch([0.2, 0.9], own=range(0, 2)), None, None),
        (FixedSearch([]), None, None),
    ],
)
def test_the_best_of_the_frames_that_can_be_the_answer_counts(search, similarity, refined):
    found = find_evidence(search, QUESTION, None, [])
    assert found.similarity == pytest.approx(similarity)
    assert found.refined == refined
    assert found.search_frames == 6


@pytest.mark.parametrize(("num_frames", "search_end"), [(4, 4), (9, 6)])
def test_another_clip_is_searched_as_far_as_it_goes(num_frames, search_end):
    question = asked_elsewhere(QUESTION, num_frames)
    assert question.search_end == search_end
    assert question.crop_frame is None
    assert question.views == QUESTION.views
