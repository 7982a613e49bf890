"""The embedded sample: annotations and videos agree, and its questions are fair."""

import json
from fractions import Fraction

import av
import pytest

from tests.places import SAMPLE
from tools.tours.annotate import QueryConfig, SeenFrame, Sight, ask, find_occurrences
from tools.tours.ego4d_json import ClipFacts, annotation_file, video_entry

VAL = json.loads((SAMPLE / "v2/annotations/vq_val.json").read_text())
TEST = json.loads((SAMPLE / "v2/annotations/vq_test_unannotated.json").read_text())


def clips_of(annotations):
    return [clip for video in annotations["videos"] for clip in video["clips"]]


def queries_of(clip):
    return [q for a in clip["annotations"] for q in a["query_sets"].values()]


CLIPS = clips_of(VAL)
QUERIES = [(clip, query) for clip in CLIPS for query in queries_of(clip)]
QUERY_IDS = [f"{c['clip_uid'][:4]}-{q['object_title']}" for c, q in QUERIES]


def frame_count(clip):
    return (clip["clip_end_frame"] + 1) // 6


@pytest.mark.parametrize("clip", CLIPS, ids=lambda clip: clip["clip_uid"])
def test_the_video_has_one_or_six_frames_per_annotated_frame(clip):
    with av.open(str(SAMPLE / "v2/clips" / f"{clip['clip_uid']}.mp4")) as container:
        stream = container.streams.video[0]
        packets = sum(packet.size > 0 for packet in container.demux(stream))
        rate, size = stream.average_rate, (stream.width, stream.height)
    assert rate in (Fraction(5), Fraction(30))
    assert packets == frame_count(clip) * rate / 5
    for query in queries_of(clip):
        crop = query["visual_crop"]
        assert (crop["original_width"], crop["original_height"]) == size


def file_rate(clip):
    with av.open(str(SAMPLE / "v2/clips" / f"{clip['clip_uid']}.mp4")) as container:
        return container.streams.video[0].average_rate


def test_both_rates_and_both_sides_of_the_query_occur():
    assert {file_rate(clip) for clip in CLIPS} == {5, 30}
    after = [q["visual_crop"]["frame_number"] > q["query_frame"] for _, q in QUERIES]
    assert any(after)
    assert not all(after)
    assert 12 <= len(QUERIES) <= 16
    assert sum(path.stat().st_size for path in SAMPLE.rglob("*") if path.is_file()) < 12e6


@pytest.mark.parametrize(("clip", "query"), QUERIES, ids=QUERY_IDS)
def test_the_track_is_contiguous_and_ends_before_the_query(clip, query):
    frames = [box["frame_number"] for box in query["response_track"]]
    assert frames == list(range(frames[0], frames[0] + len(frames)))
    assert len(frames) >= 3
    assert frames[-1] < query["query_frame"] < frame_count(clip)
    assert query["visual_crop"]["frame_number"] not in frames
    assert query["visual_crop"]["frame_number"] < frame_count(clip)


@pytest.mark.parametrize(("clip", "query"), QUERIES, ids=QUERY_IDS)
def test_boxes_lie_in_the_image_and_count_frames_of_the_source_video(clip, query):
    for box in [query["visual_crop"], *query["response_track"]]:
        assert box["x"] >= 0
        assert box["y"] >= 0
        assert box["width"] * box["height"] >= 150
        assert box["x"] + box["width"] <= box["original_width"]
        assert box["y"] + box["height"] <= box["original_height"]
        assert box["video_frame_number"] == clip["video_start_frame"] + 6 * box["frame_number"]
    assert query["query_video_frame"] == clip["video_start_frame"] + 6 * query["query_frame"]


def test_the_test_file_is_the_val_file_without_answers():
    stripped = json.loads(json.dumps(VAL))
    for video in stripped["videos"]:
        video["split"] = "test"
        for clip in video["clips"]:
            for query in queries_of(clip):
                del query["response_track"]
    assert stripped == TEST


def test_uids_are_unique():
    uids = [v["video_uid"] for v in VAL["videos"]] + [c["clip_uid"] for c in CLIPS]
    uids += [a["annotation_uid"] for c in CLIPS for a in c["annotations"]]
    assert len(set(uids)) == len(uids)


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
