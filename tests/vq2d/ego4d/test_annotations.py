"""Annotation files: real shapes, invalid sets, damage."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest

from ren_core.errors import ConfigError, DataError
from tests.places import CONFORMANCE
from vq2d.ego4d.annotations import annotation_path, load_annotations
from vq2d.ego4d.documents import valid_query_sets
from vq2d.ego4d.submission import build_submission, validate

PARSING = CONFORMANCE / "parsing" / "v1_like"
INVALID = {"is_valid": False, "errors": ["non-contiguous"], "warnings": []}


def box(frame, x=10.0, y=20.0, width=30.0, height=40.0, **changes):
    size = {"original_width": 640, "original_height": 480}
    place = {"x": x, "y": y, "width": width, "height": height}
    return {"frame_number": frame, **place, "rotation": 0, **size, **changes}


def query(**changes):
    response = [box(12), box(10, x=-5.5), box(11)]
    valid = {"is_valid": True, "errors": [], "warnings": [], "query_frame": 30}
    return {**valid, "response_track": response, "visual_crop": box(99), **changes}


def document(*query_sets, **clip_changes):
    """One video with one clip, one annotation per argument."""
    clip = {
        "clip_uid": "clip",
        "video_start_frame": 300,
        "video_end_frame": 599,
        "clip_fps": 5.0,
        "annotations": [{"query_sets": sets, "warnings": []} for sets in query_sets],
        **clip_changes,
    }
    videos = [{"video_uid": "video", "split": "val", "clips": [clip]}]
    return {"version": "1.0.5", "date": "220302", "videos": videos}


@pytest.fixture
def load(tmp_path):
    def write_and_load(content, name="vq_val.json"):
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return load_annotations(path)

    return write_and_load


def test_a_valid_query_in_our_terms(load):
    found = load(document({"1": query(object_title="mug")}))
    assert (found.version, found.split, found.problems) == ("1.0.5", "val", ())
    assert found.document["date"] == "220302"
    (clip,) = found.clips
    assert (clip.video_uid, clip.clip_uid, clip.num_frames) == ("video", "clip", 50)
    assert (clip.video_start_frame, clip.video_end_frame, clip.clip_fps) == (300, 599, 5.0)
    (q,) = clip.queries
    assert str(q.key) == "v0-c0-a0-q1"
    assert (q.query_frame, q.crop_frame, q.object_title) == (30, 99, "mug")
    assert q.crop_box_xyxy.tolist() == [10, 20, 40, 60]
    assert q.original_size_hw == (480, 640)
    assert q.response.start_frame == 10
    assert q.response.boxes_xyxy[:, 0].tolist() == [-5.5, 10, 10], "sorted by frame, not clamped"
    assert q.response.score == 1.0


def test_sets_keep_file_order_and_invalid_ones_are_skipped(load):
    sets = {"3": query(), "1": INVALID, "4": query(), "2": query()}
    found = load(document(sets, {"2": INVALID}, {"1": query()}))
    keys = [str(q.key) for q in found.clips[0].queries]
    assert keys == ["v0-c0-a0-q3", "v0-c0-a0-q4", "v0-c0-a0-q2", "v0-c0-a2-q1"]
    assert found.problems == ()


@pytest.mark.parametrize("absent", [None, [], "missing"])
def test_no_response_track(load, absent):
    raw = query(response_track=absent)
    if absent == "missing":
        del raw["response_track"]
    found = load(document({"1": raw}))
    assert found.clips[0].queries[0].response is None
    assert found.problems == ()


def test_null_clip_uid_and_seconds_only(load):
    times = {"video_start_frame": None, "video_start_sec": 10.0}
    found = load(document({"1": query()}, clip_uid=None, **times))
    assert found.clips[0].clip_uid is None
    assert found.clips[0].video_start_frame == 300
    assert len(found.clips[0].queries) == 1


@pytest.mark.parametrize(("end", "frames"), [(599, 50), (600, 50), (598, 50), (594, 49), (300, 0)])
def test_expected_number_of_frames(load, end, frames):
    assert load(document({}, video_end_frame=end)).clips[0].num_frames == frames


DAMAGED = {
    "query_frame is None": query(query_frame=None),
    "query_frame is 1.5": query(query_frame=1.5),
    "query_frame is -1": query(query_frame=-1),
    "query_frame is True": query(query_frame=True),
    "visual_crop is None, expected an object": query(visual_crop=None),
    "visual_crop.x is 'left'": query(visual_crop=box(99, x="left")),
    "visual_crop.x is 1000": query(visual_crop=box(99, x=10**400)),
    "visual_crop.y is nan": query(visual_crop=box(99, y=float("nan"))),
    "visual_crop has no area": query(visual_crop=box(99, width=0.0)),
    "visual_crop has image size 0 x 480": query(visual_crop=box(99, original_width=0)),
    "visual_crop.frame_number": query(visual_crop=box("a")),
    "expected an object, got 'x'": "x",
}


@pytest.mark.parametrize("message", DAMAGED)
def test_one_damaged_query_is_listed_and_the_rest_read(load, message):
    found = load(document({"1": DAMAGED[message], "2": query()}))
    assert [q.key.query_set for q in found.clips[0].queries] == ["2"]
    (problem,) = found.problems
    assert problem.startswith("v0-c0-a0-q1: ")
    assert message in problem
    reasons = {str(key): reason for key, reason in found.damaged.items()}
    no_set = DAMAGED[message] == "x"  # which nobody can answer
    assert reasons == ({} if no_set else {"v0-c0-a0-q1": problem.removeprefix("v0-c0-a0-q1: ")})


@pytest.mark.parametrize(
    ("track", "message"),
    [
        ([box(3), box(5)], "not contiguous: [3, 5]"),
        ([box(3), box(3)], "not contiguous: [3, 3]"),
        ([box(3, height=None)], "response_track.height is None"),
        ([box(3, original_width=99)], "differ in image size"),
        ([7], "response_track is 7"),
    ],
)
def test_a_damaged_track_costs_only_the_track(load, track, message):
    found = load(document({"1": query(response_track=track)}))
    assert found.clips[0].queries[0].response is None
    assert message in found.problems[0]
    assert "kept without its track" in found.problems[0]


def test_damaged_clips_and_annotations_are_listed(load):
    content = document({"1": query()})
    clips = content["videos"][0]["clips"]
    clips += [{**copy.deepcopy(clips[0]), "video_end_frame": "late"}, None]
    clips[0]["annotations"] += [None, {"query_sets": None}]
    content["videos"].append("text")
    found = load(content)
    assert len(found.clips) == 1
    assert len(found.clips[0].queries) == 1
    places = [problem.split(":")[0] for problem in found.problems]
    assert sorted(places) == ["v0-c0-a1", "v0-c0-a2", "v0-c1", "v0-c2", "v1"]


MALFORMED = {
    "query_sets is null": lambda clip: clip["annotations"].append({"query_sets": None}),
    "a set does not say is_valid": lambda clip: clip["annotations"][0]["query_sets"]["1"].pop(
        "is_valid"
    ),
    "annotations is null": lambda clip: clip.update(annotations=None),
    "annotations is missing": lambda clip: clip.pop("annotations"),
    "clip_uid is missing": lambda clip: clip.pop("clip_uid"),
    "a set is null": lambda clip: clip["annotations"][0]["query_sets"].update({"7": None}),
    "an annotation is null": lambda clip: clip["annotations"].insert(0, None),
    "clip_fps is negative": lambda clip: clip.update(clip_fps=-5),
    "video_end_frame is text": lambda clip: clip.update(video_end_frame="late"),
    "all of it is null": lambda clip: clip.clear(),
}


@pytest.mark.parametrize("fault", MALFORMED)
def test_what_can_be_loaded_can_be_submitted(load, fault):
    content = document({"1": query()}, {"2": query()})
    clips = content["videos"][0]["clips"]
    clips.append(copy.deepcopy(clips[0]))
    MALFORMED[fault](clips[0])
    found = load(content)
    submission = build_submission(found.document, {})
    assert validate(submission, found.document) == []
    asked = [q.key for clip in found.clips for q in clip.queries]
    valid = {q.key for q in valid_query_sets(found.document)}
    assert valid == {*asked, *found.damaged}, "every valid query is asked or has a reason"
    assert len([key for key in asked if key.clip_idx == 1]) == 2, "the other clip is whole"
    built = submission["results"]["videos"][0]["clips"][1]["predictions"]
    assert [list(entry["query_sets"]) for entry in built] == [["1"], ["2"]]


def test_a_damaged_clip_gives_its_reason_to_each_of_its_queries(load):
    content = document({"1": query(), "2": INVALID}, {"1": query()}, clip_fps=-5)
    found = load(content)
    assert [str(key) for key in found.damaged] == ["v0-c0-a0-q1", "v0-c0-a1-q1"]
    assert all("clip_fps is -5.0" in reason for reason in found.damaged.values())


def test_a_version_can_be_given_to_a_file_without_one(load):
    content = document({"1": query()})
    del content["version"]
    found = load(content)
    assert found.version == ""
    with pytest.raises(DataError, match=r"no version to echo.*--version"):
        build_submission(found.document, {})
    versioned = found.with_version("1.0.5")
    assert versioned.version == "1.0.5"
    assert build_submission(versioned.document, {})["version"] == "1.0.5"
    assert "version" not in found.document


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not JSON"),
        ("[]", 'has no list "videos"'),
        ('{"videos": {}}', 'has no list "videos"'),
        (
            {"videos": [{"clips": [{"annotations": [{"language_queries": []}]}]}]},
            'annotations without "query_sets"',
        ),
    ],
)
def test_other_files_are_refused(load, content, message):
    with pytest.raises(DataError, match=message):
        load(content)


def test_missing_file(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        load_annotations(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("name", "split"),
    [("vq_train.json", "train"), ("vq_test_unannotated.json", "test"), ("mine.json", "unknown")],
)
def test_split_from_the_name_where_videos_do_not_say(load, name, split):
    content = document({})
    del content["videos"][0]["split"]
    assert load(content, name).split == split


@pytest.mark.parametrize(
    ("folder", "split", "name"),
    [
        ("v2/annotations", "train", "vq_train.json"),
        ("v2_1/annotations", "val", "vq_val.json"),
        ("v1/annotations", "test", "vq_test_unannotated.json"),
        ("annotations", "val", "vq_val.json"),
    ],
)
def test_layouts(tmp_path, folder, split, name):
    path = tmp_path / folder / name
    path.parent.mkdir(parents=True)
    path.touch()
    assert annotation_path(tmp_path, split) == path


def test_v2_comes_first_and_absence_names_the_command(tmp_path):
    command = rf"ego4d --output_directory={tmp_path} --datasets annotations --version v2 -y"
    with pytest.raises(DataError, match=command):
        annotation_path(tmp_path, "val")
    for folder in ("annotations", "v1/annotations", "v2/annotations"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "vq_val.json").touch()
    assert annotation_path(tmp_path, "val").parent.parent.name == "v2"
    with pytest.raises(ConfigError, match="got 'dev'"):
        annotation_path(tmp_path, "dev")


def flatten(item):
    """A query of the official flattening as the tuple that ``ours`` gives."""
    crop = item["visual_crop"]
    track = sorted(item["response_track"], key=lambda b: b["frame_number"])
    boxes = [[b["x"], b["y"], b["x"] + b["width"], b["y"] + b["height"]] for b in track]
    key = (item["metadata"]["video_uid"], item["clip_uid"], item["query_set"], item["query_frame"])
    return key, crop["frame_number"], item["object_title"], track[0]["frame_number"], boxes


@pytest.mark.data
@pytest.mark.skipif(not PARSING.is_dir(), reason="needs ../shared/conformance")
@pytest.mark.parametrize(("split", "count"), [("train", 79), ("val", 66)])
def test_official_flattening(split, count):
    found = load_annotations(PARSING / f"vq_{split}.json")
    expected = [
        flatten(x) for x in json.loads((PARSING / f"expected_{split}_annot.json").read_text())
    ]
    ours = [(clip, q) for clip in found.clips for q in clip.queries]
    assert len(ours) == len(expected) == count
    assert found.problems == ()
    for (clip, q), (key, crop_frame, title, start, boxes) in zip(ours, expected, strict=True):
        assert (clip.video_uid, clip.clip_uid, q.key.query_set, q.query_frame) == key
        assert (q.crop_frame, q.object_title, q.response.start_frame) == (crop_frame, title, start)
        np.testing.assert_allclose(q.response.boxes_xyxy, boxes, atol=1e-3)


@pytest.mark.data
@pytest.mark.skipif(not PARSING.is_dir(), reason="needs ../shared/conformance")
def test_unannotated_file():
    found = load_annotations(PARSING / "vq_test_unannotated.json")
    queries = [q for clip in found.clips for q in clip.queries]
    assert (found.split, found.version, found.problems) == ("test", "1", ())
    assert len(queries) == 66
    assert all(q.response is None and q.object_title is None for q in queries)
    assert sum(clip.clip_uid is None for clip in found.clips) == 1
