"""Questions for the sample: occurrences, what is asked, the layout of the files."""

from __future__ import annotations

import pytest

from tools.tours.annotate import QueryConfig, SeenFrame, Sight, ask, find_occurrences
from tools.tours.ego4d_json import ClipFacts, annotation_file, video_entry


def queries_of(clip):
    return [q for a in clip["annotations"] for q in a["query_sets"].values()]


def seen(*areas, title="cup", share=1.0):
    """Frames that show one object with so many pixels; 0 hides it."""
    sight = {n: {title: Sight((0, 0, 10, 10), n, share)} if n else {} for n in set(areas)}
    return [SeenFrame(0.0, sight[n]) for n in areas]


TWICE = seen(*[0] * 3, *[2000] * 5, *[0] * 12, *[3000] * 4, *[0] * 10)


def test_occurrences_are_runs_of_clear_frames():
    found = find_occurrences(TWICE, "cup", QueryConfig())
    assert [(o.start, o.end) for o in found] == [(3, 8), (20, 24)]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"min_track": 5}, [(3, 8)]),
        ({"clear_pixels": 2500}, [(20, 24)]),
        ({"min_pixels": 2500}, [(20, 24)]),
        ({"clear_share": 1.1}, []),
        ({"min_share": 1.1}, []),
    ],
)
def test_each_limit_of_an_occurrence_counts(change, expected):
    found = find_occurrences(TWICE, "cup", QueryConfig(**change))
    assert [(o.start, o.end) for o in found] == expected


def test_a_question_asks_for_the_last_occurrence_and_shows_another():
    questions = ask(TWICE, ["cup"], count=5, seed=1, config=QueryConfig())
    assert [q.track for q in questions] == [range(3, 8), range(20, 24)]
    for question, crops in zip(questions, [range(20, 24), range(3, 8)], strict=True):
        assert question.crop_frame in crops
        assert question.query_frame > question.track[-1]
    assert 8 < questions[0].query_frame < 20


def test_no_question_when_traces_or_short_absences_make_it_unclear():
    traced = seen(*[2000] * 5, *[40] * 12, *[2000] * 5)
    assert ask(traced, ["cup"], count=5, seed=1, config=QueryConfig()) == []
    assert ask(traced, ["cup"], count=5, seed=1, config=QueryConfig(trace_pixels=50)) != []
    long = QueryConfig(min_absence=11)
    assert [q.track.start for q in ask(TWICE, ["cup"], count=5, seed=1, config=long)] == [3]


def test_a_blurred_frame_gives_no_crop():
    blurred = [SeenFrame(6.0, frame.sights) for frame in TWICE]
    assert ask(blurred, ["cup"], count=5, seed=1, config=QueryConfig()) == []
    assert ask(blurred, ["cup"], count=5, seed=1, config=QueryConfig(max_crop_blur=7)) != []
    assert find_occurrences(blurred, "cup", QueryConfig(clear_blur=5)) == []


def test_annotations_follow_the_layout_of_the_files():
    facts = ClipFacts("room-1", 60, len(TWICE), (10, 20))
    questions = ask(TWICE, ["cup"], count=1, seed=1, config=QueryConfig())
    entry = video_entry(facts, questions, TWICE, answers=True)
    clip = annotation_file([entry])["videos"][0]["clips"][0]
    assert (clip["video_start_frame"], clip["video_end_frame"]) == (60, 60 + 6 * len(TWICE) - 1)
    (query,) = queries_of(clip)
    assert query["visual_crop"]["original_height"] == 10
    assert query["response_track"][0]["video_frame_number"] == 60 + 6 * questions[0].track.start
    hidden = video_entry(facts, questions, TWICE, answers=False)
    assert "response_track" not in queries_of(hidden["clips"][0])[0]
