"""The embedded sample: annotations and videos agree, and its questions are fair."""

from __future__ import annotations

import json
from fractions import Fraction

import av
import pytest

from tests.places import SAMPLE

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
