"""What the stages hand to each other: the hunt's clip, its own occurrence, the second search."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.clips import FRAMES, RED, FramesInMemory, frame, place
from tests.job import CONFIG, tiny_localizer
from vq2d.localize.localizer import adjoins, question_of
from vq2d.localize.tokens import clip_tokens
from vq2d.types import Localization, ObjectView, QueryKey, Question, ResponseTrack, VisualQuery

SEARCHED = np.arange(0, 30, 2, dtype=np.int32)


def track(start, end):
    return ResponseTrack(start, np.tile(np.float32([0, 0, 9, 9]), (end - start, 1)), 1.0)


@pytest.fixture
def hunt_in(tmp_path):
    """Asks for the red square of frame 4 with a changed configuration."""
    frames = FramesInMemory([frame(i) for i in range(FRAMES)])

    def call(config) -> Localization:
        localizer = tiny_localizer(config)
        encoder = localizer.models.encoder
        chunks = clip_tokens(
            frames, encoder, config.tokens, directory=tmp_path, num_frames=len(frames)
        )
        question = Question((ObjectView(frames[4], place(RED, 4)),), 28, 4)
        return localizer.localize(question, frames, chunks)

    return call


@pytest.mark.parametrize(
    ("found", "is_beside"),
    [
        (track(14, 17), True),  # searched frames 14 and 16; nothing between 12 and it
        (track(15, 17), False),  # 14 lies between
        (track(3, 7), False),  # 8 lies between
        (track(3, 9), True),
        (track(9, 12), True),  # inside
    ],
)
def test_a_track_beside_the_querys_own_occurrence_goes_on_with_it(found, is_beside):
    assert adjoins(found, range(10, 13), SEARCHED) == is_beside
    assert not adjoins(found, None, SEARCHED)


def test_a_picture_after_the_end_of_a_short_file_is_its_last_frame_and_no_answer():
    frames = FramesInMemory([frame(i) for i in range(20)])
    query = VisualQuery(QueryKey(0, 0, 0, "1"), 30, 21, place(RED, 19), frames.size_hw)
    question = question_of(query, frames)
    assert question.crop_frame == 19
    assert question.search_end == 20
    assert (question.views[0].picture == frames[19]).all()


def test_the_querys_own_occurrence_is_carried_as_an_interval(hunt_in):
    found = hunt_in(CONFIG)
    assert found.scores.own == range(3, 8)
    assert found.scores.similarity[4] > 0.9  # kept as it is, and no answer all the same
    assert found.track is not None
    assert (found.track.start_frame, found.track.end_frame) == (15, 21)


@pytest.mark.parametrize(("floor", "start"), [(0.5, 15), (0.9999, 3)])
def test_the_second_search_has_a_floor_of_its_own(tmp_path, floor, start):
    images = [frame(i) for i in range(FRAMES)]
    for image in images[15:21]:  # seen again in another light
        image[(image == RED).all(axis=2)] = (215, 60, 60)
    config = replace(
        CONFIG,
        refine=replace(CONFIG.refine, keep_ratio=0.0),
        track=replace(CONFIG.track, first="highest"),
        expand=replace(CONFIG.expand, floor=floor),
    )
    frames, localizer = FramesInMemory(images), tiny_localizer(config)
    encoder = localizer.models.encoder
    chunks = clip_tokens(frames, encoder, config.tokens, directory=tmp_path, num_frames=FRAMES)
    question = Question((ObjectView(images[4], place(RED, 4)),), 28, None)
    found = localizer.localize(question, frames, chunks)
    assert found.rounds == 2
    assert found.track is not None
    assert found.track.start_frame == start


@pytest.mark.parametrize(("rounds", "start"), [(0, 3), (1, 12), (5, 21)])
def test_what_follows_is_searched_until_nothing_later_is_accepted(tmp_path, rounds, start):
    """The square is seen three times, each time in a light nearer to the next one's."""
    images = [np.full((64, 96, 3), 120, np.uint8) for _ in range(FRAMES)]
    for (first, stop), colour in zip(
        [(3, 6), (12, 15), (21, 24)], [RED, (225, 40, 40), (215, 60, 60)], strict=True
    ):
        for i in range(first, stop):
            x1, y1, x2, y2 = place(RED, i).astype(int)
            images[i][y1:y2, x1:x2] = colour
    config = replace(
        CONFIG,
        search=replace(CONFIG.search, top_k=1),
        refine=replace(CONFIG.refine, keep_ratio=0.0),
        track=replace(CONFIG.track, first="highest"),
        expand=replace(CONFIG.expand, rounds=rounds, floor=0.0, accept_ratio=0.5),
    )
    frames, localizer = FramesInMemory(images), tiny_localizer(config)
    encoder = localizer.models.encoder
    chunks = clip_tokens(frames, encoder, config.tokens, directory=tmp_path, num_frames=FRAMES)
    question = Question((ObjectView(images[4], place(RED, 4)),), 28, None)
    found = localizer.localize(question, frames, chunks)
    assert found.track is not None
    assert found.track.start_frame == start
    assert found.rounds == {0: 1, 1: 2, 5: 4}[rounds]


def test_the_candidates_alone_are_those_of_the_first_search(tmp_path):
    frames = FramesInMemory([frame(i) for i in range(FRAMES)])
    config = replace(CONFIG, expand=replace(CONFIG.expand, rounds=0))
    localizer = tiny_localizer(config)
    encoder = localizer.models.encoder
    chunks = clip_tokens(frames, encoder, config.tokens, directory=tmp_path, num_frames=FRAMES)
    question = Question((ObjectView(frames[4], place(RED, 4)),), 28, 4)
    whole = localizer.localize(question, frames, chunks)
    found = localizer.candidates(question, frames, chunks)
    assert [c.frame_idx for c in found.candidates] == [c.frame_idx for c in whole.candidates]
    assert [c.refined_score for c in found.candidates] == [
        c.refined_score for c in whole.candidates
    ]
    assert found.scores.own == whole.scores.own
    np.testing.assert_array_equal(found.scores.similarity, whole.scores.similarity)
