"""Writing, validating and repairing submissions, against what the official readers accept."""

import copy
import json
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ren_core.errors import DataError
from tests.places import CONFORMANCE
from vq2d.ego4d.submission import build_submission, repair, validate
from vq2d.scoring.metrics import evaluate
from vq2d.types import QueryKey, ResponseTrack

needs_shared = pytest.mark.skipif(
    not CONFORMANCE.is_dir(), reason="conformance data is not beside the project"
)


def annotation_file(layout, version="1.0.5"):
    """An unannotated file: ``layout[video][clip][annotation]`` is a text of set ids, x invalid."""
    videos = []
    for v, clips in enumerate(layout):
        items = []
        for c, annotations in enumerate(clips):
            entries = [
                {
                    "query_sets": {
                        name: {"is_valid": True, "query_frame": 100} for name in names.strip("x")
                    }
                    | ({"9": {"is_valid": False}} if "x" in names else {}),
                    "annotation_uid": f"a{v}{c}{a}",
                }
                for a, names in enumerate(annotations)
            ]
            items.append({"clip_uid": f"c{v}{c}", "annotations": entries})
        videos.append({"video_uid": f"v{v}", "clips": items})
    return {"version": version, "videos": videos}


LAYOUT = [[["312", "12x"]], [["1"], ["2", "1"]], [["4x"]]]


@pytest.fixture
def annotations():
    return annotation_file(LAYOUT)


@pytest.fixture
def submission(annotations):
    tracks = {
        QueryKey(0, 0, 0, "1"): response(start=10, length=3, score=0.25),
        QueryKey(0, 0, 1, "1"): response(start=20, length=2, score=0.5),
        QueryKey(1, 1, 0, "2"): response(start=30, length=4, score=0.75),
    }
    return build_submission(annotations, tracks)


def response(start=0, length=1, score=1.0):
    boxes = np.tile(np.array([1.234, 2.345, 30.456, 40.567], np.float32), (length, 1))
    return ResponseTrack(start, boxes, score)


def sets_at(submission, v, c, a):
    return submission["results"]["videos"][v]["clips"][c]["predictions"][a]["query_sets"]


def errors(submission, annotations, **options):
    found = validate(submission, annotations, **options)
    return [problem for problem in found if problem.severity == "error"]


class TestBuild:
    def test_official_form(self, annotations, submission):
        assert submission["version"] == "1.0.5"
        assert submission["challenge"] == "ego4d_vq2d_challenge"
        videos = submission["results"]["videos"]
        assert [video["video_uid"] for video in videos] == ["v0", "v1", "v2"]
        assert [clip["clip_uid"] for clip in videos[1]["clips"]] == ["c10", "c11"]
        assert videos[0]["clips"][0]["predictions"][1]["annotation_uid"] == "a001"
        assert list(sets_at(submission, 0, 0, 0)) == ["3", "1", "2"]
        assert sets_at(submission, 0, 0, 0)["2"] == {"bboxes": [], "score": 0.0}
        assert sets_at(submission, 2, 0, 0).keys() == {"4"}
        assert validate(submission, annotations) == []

    def test_same_set_id_in_two_annotations_is_not_mixed_up(self, submission):
        # The defect of writers that count occurrences of an id within the clip.
        assert sets_at(submission, 0, 0, 0)["1"]["score"] == 0.25
        assert sets_at(submission, 0, 0, 1)["1"]["score"] == 0.5

    def test_boxes_are_rounded_floats(self, submission):
        boxes = sets_at(submission, 0, 0, 0)["1"]["bboxes"]
        assert boxes[0] == {"fno": 10, "x1": 1.23, "y1": 2.35, "x2": 30.46, "y2": 40.57}
        assert [box["fno"] for box in boxes] == [10, 11, 12]
        assert json.loads(json.dumps(submission)) == submission

    def test_version_can_be_chosen_or_must_be(self, annotations):
        assert build_submission(annotations, {}, version="1.0")["version"] == "1.0"
        del annotations["version"]
        with pytest.raises(DataError, match="no version"):
            build_submission(annotations, {})

    def test_annotation_uid_is_written_only_where_present(self, annotations):
        del annotations["videos"][2]["clips"][0]["annotations"][0]["annotation_uid"]
        built = build_submission(annotations, {})
        assert built["results"]["videos"][2]["clips"][0]["predictions"][0].keys() == {"query_sets"}

    @pytest.mark.parametrize("key", [QueryKey(0, 0, 1, "9"), QueryKey(7, 0, 0, "1")])
    def test_track_without_valid_query_is_refused(self, annotations, key):
        with pytest.raises(DataError, match="answer no valid query"):
            build_submission(annotations, {key: response()})

    def test_numbers_that_are_not_finite_are_refused(self, annotations):
        key = QueryKey(0, 0, 0, "1")
        with pytest.raises(DataError, match="not finite"):
            build_submission(annotations, {key: response(score=float("nan"))})
        track = response()
        track.boxes_xyxy[0, 2] = np.inf
        with pytest.raises(DataError, match="not finite"):
            build_submission(annotations, {key: track})

    def test_damaged_annotation_file_is_named(self):
        with pytest.raises(DataError, match="not in the official form"):
            build_submission({"version": "1", "videos": [{"clips": [{}]}]}, {})


class TestValidate:
    @needs_shared
    @pytest.mark.data
    @pytest.mark.parametrize("truth", ["gt_annotated.json", "test_unannotated.json"])
    def test_accepts_what_the_official_readers_accept(self, truth):
        folder = CONFORMANCE / "submission"
        annotations = json.loads((folder / truth).read_text())
        cases = json.loads((folder / "validator_messages.json").read_text())["results"]
        assert cases
        for case in cases:
            readers = case["validate_challenge_predictions"], case["evaluate_vq"]
            found = errors(json.loads((folder / case["file"]).read_text()), annotations)
            assert (not found) == all(reader["accepted"] for reader in readers), case["what"]
            assert all(len(problem.message) > 20 for problem in found)

    def test_expected_version_overrides(self, annotations, submission):
        assert errors(submission, annotations, expected_version="1.0.5") == []
        (problem,) = errors(submission, annotations, expected_version="1.0")
        assert str(problem) == "error: version: found '1.0.5', expected '1.0'; write that"

    @pytest.mark.parametrize(
        ("change", "path", "message"),
        [
            (lambda s: s.pop("challenge"), "challenge", "missing"),
            (lambda s: s.update(challenge="x"), "challenge", "found 'x'"),
            (lambda s: s.update(results=[]), "results", "found a list"),
            (lambda s: s["results"].update(videos={}), "results.videos", "found an object"),
            (lambda s: s["results"]["videos"].pop(), "results.videos", "2 entries, expected 3"),
            (
                lambda s: s["results"]["videos"].reverse(),
                "results.videos[0].video_uid",
                "found 'v2', expected 'v0'",
            ),
            (
                lambda s: s["results"]["videos"][1]["clips"].reverse(),
                "results.videos[1].clips[0].clip_uid",
                "annotation file's order",
            ),
            (
                lambda s: s["results"]["videos"][1]["clips"][0].pop("predictions"),
                "results.videos[1].clips[0]",
                "'clip_uid' and 'predictions'",
            ),
            (
                lambda s: s["results"]["videos"][0]["clips"][0]["predictions"].pop(),
                "results.videos[0].clips[0].predictions",
                "1 entries, expected 2",
            ),
            (
                lambda s: s["results"]["videos"][0]["clips"][0].update(predictions=None),
                "results.videos[0].clips[0].predictions",
                "found null",
            ),
            (
                lambda s: s["results"]["videos"][0]["clips"][0]["predictions"][0].clear(),
                "results.videos[0].clips[0].predictions[0]",
                "'query_sets' is an object",
            ),
        ],
    )
    def test_faults_of_the_nesting(self, annotations, submission, change, path, message):
        change(submission)
        problem = errors(submission, annotations)[0]
        assert problem.path == path
        assert message in problem.message

    @pytest.mark.parametrize(
        ("value", "severity", "place", "message"),
        [
            (None, "error", "", "found null"),
            ([{"bboxes": [], "score": 1}], "error", "", "keep the best track"),
            ({"bboxes": []}, "error", "", "'score' is missing"),
            ({"bboxes": {}, "score": 1}, "error", ".bboxes", "expected a list"),
            ({"bboxes": [[1, 2, 3, 4, 5]], "score": 1}, "error", ".bboxes[0]", "found a list"),
            ({"bboxes": [], "score": None}, "error", ".score", "found null"),
            ({"bboxes": [], "score": [1]}, "error", ".score", "found a list"),
            ({"bboxes": [], "score": True}, "warning", ".score", "ranked as 0 or 1"),
            ({"bboxes": [], "score": float("nan")}, "warning", ".score", "ranks above"),
            ({"bboxes": [], "score": 10**400}, "error", ".score", "more digits than a float"),
        ],
    )
    def test_faults_of_a_track(self, annotations, submission, value, severity, place, message):
        sets_at(submission, 1, 1, 1)["1"] = value
        (problem,) = validate(submission, annotations)
        assert problem.path == f"results.videos[1].clips[1].predictions[1].query_sets['1']{place}"
        assert problem.severity == severity
        assert message in problem.message

    @pytest.mark.parametrize(
        ("position", "change", "severity", "message"),
        [
            (1, {"fno": 40}, "error", "cannot fill frames 30..40"),
            (1, {"x1": "1"}, "error", "x1 is '1'"),
            (1, {"fno": None}, "error", "fno is None"),
            (1, {"x2": 10**400}, "error", "more digits than a float"),
            (1, {"fno": -(10**400)}, "error", "more digits than a float"),
            (1, {"fno": 32}, "warning", "two boxes"),
            (1, {"x1": float("nan")}, "warning", "not finite"),
            (1, {"x1": 99}, "warning", "no area or is inverted"),
        ],
    )
    def test_faults_of_a_box(self, annotations, submission, position, change, severity, message):
        sets_at(submission, 1, 1, 0)["2"]["bboxes"][position].update(change)
        (problem,) = validate(submission, annotations)
        assert problem.severity == severity
        assert message in problem.message

    def test_frames_outside_the_search_window_are_warned_of(self, annotations):
        late = {QueryKey(0, 0, 0, "1"): response(start=98, length=3)}
        (problem,) = validate(build_submission(annotations, late), annotations)
        assert "the last frame is 100, the query's 100" in problem.message
        early = {QueryKey(0, 0, 0, "1"): response(start=-1, length=3)}
        (problem,) = validate(build_submission(annotations, early), annotations)
        assert "frames start at -1" in problem.message
        assert problem.severity == "warning"

    def test_unknown_set_is_an_error_and_an_invalid_one_is_not(self, annotations, submission):
        sets_at(submission, 0, 0, 1)["9"] = {"bboxes": [], "score": 0}
        assert validate(submission, annotations) == []
        sets_at(submission, 0, 0, 1)["7"] = {"bboxes": [], "score": 0}
        (problem,) = validate(submission, annotations)
        assert problem.path.endswith("query_sets['7']")

    def test_swapped_annotations_are_warned_of(self, annotations, submission):
        submission["results"]["videos"][1]["clips"][1]["predictions"].reverse()
        problems = validate(submission, annotations)
        assert [p.path.endswith("annotation_uid") for p in problems if p.severity == "warning"]

    def test_text_and_number_scores_cannot_be_ranked_together(self, annotations, submission):
        sets_at(submission, 0, 0, 0)["1"]["score"] = "0.5"
        warning, error = validate(submission, annotations)
        assert (warning.severity, error.severity) == ("warning", "error")
        assert "cannot be ranked" in error.message

    @pytest.mark.parametrize("junk", [None, [], "text", 3, {}, {"results": {}}])
    def test_junk_is_rejected(self, annotations, junk):
        assert errors(junk, annotations)


class TestRepair:
    @needs_shared
    @pytest.mark.data
    def test_mutated_submissions_score_as_the_sound_one(self):
        folder = CONFORMANCE / "submission"
        annotations = json.loads((folder / "gt_annotated.json").read_text())
        sound = json.loads((folder / "submission_ok.json").read_text())
        lossless = ["01_version_1_0_5", "03_version_missing", "05_results_list", "09_video_order"]
        lossless += ["11_clip_order", "13_clips_dict", "21_query_set_is_list"]
        lossless += ["23_annotation_order", "29_invalid_sets_left_out"]
        lossy = ["07_videos_missing", "15_predictions_short", "17_query_set_missing"]
        lossy += ["19_bboxes_missing", "25_score_null"]
        for name in lossless + lossy:
            damaged = json.loads((folder / "mutated" / f"{name}.json").read_text())
            document, log = repair(damaged, annotations)
            assert log, name
            assert errors(document, annotations) == [], name
            same = evaluate(document, annotations) == evaluate(sound, annotations)
            assert same == (name in lossless), name

    def test_sound_submission_stays(self, annotations, submission):
        before = copy.deepcopy(submission)
        document, log = repair(submission, annotations)
        assert (document, log) == (before, [])
        assert document is not submission

    def test_each_change_is_listed(self, annotations, submission):
        damaged = copy.deepcopy(submission)
        damaged["version"] = "1"
        sets = sets_at(damaged, 0, 0, 0)
        sets["1"]["bboxes"].reverse()
        sets["2"] = [{"bboxes": [], "score": -1}, sets["2"], "junk"]
        del sets["3"]
        sets["7"] = sets["1"]
        document, log = repair(damaged, annotations)
        assert document == submission
        place = "results.videos[0].clips[0].predictions[0].query_sets"
        assert sorted(log) == sorted(
            [
                "version: '1' became '1.0.5'",
                f"{place}['7']: unknown id, dropped",
                f"{place}['3']: was missing and became empty",
                f"{place}['1'].bboxes: sorted by frame",
                f"{place}['2']: of a list of 3 tracks the best-scored was kept",
            ]
        )

    def test_missing_and_unknown_entries(self, annotations, submission):
        damaged = copy.deepcopy(submission)
        videos = damaged["results"]["videos"]
        videos[0] = {"video_uid": "stranger", "clips": []}
        videos[1]["clips"] = {clip.pop("clip_uid"): clip for clip in videos[1]["clips"]}
        document, log = repair(damaged, annotations)
        assert errors(document, annotations) == []
        assert sets_at(document, 0, 0, 0)["1"] == {"bboxes": [], "score": 0.0}
        assert sets_at(document, 1, 1, 0) == sets_at(submission, 1, 1, 0)
        assert len(log) == 3

    def test_annotations_without_known_uid_go_by_position(self, annotations, submission):
        damaged = copy.deepcopy(submission)
        predictions = damaged["results"]["videos"][0]["clips"][0]["predictions"]
        del predictions[0]["annotation_uid"]
        predictions[1]["annotation_uid"] = "someone's own"
        assert repair(damaged, annotations) == (damaged, [])

    def test_track_parts(self, annotations, submission):
        damaged = copy.deepcopy(submission)
        sets_at(damaged, 0, 0, 0)["1"] = {"bboxes": None, "score": None}
        sets_at(damaged, 0, 0, 1)["1"] = "junk"
        sets_at(damaged, 1, 1, 0)["2"]["bboxes"][0] = "junk"
        document, log = repair(damaged, annotations)
        assert sets_at(document, 0, 0, 0)["1"] == {"bboxes": [], "score": 0.0}
        assert sets_at(document, 0, 0, 1)["1"] == {"bboxes": [], "score": 0.0}
        (problem,) = errors(document, annotations)  # a damaged box is not made up
        assert problem.path.endswith("bboxes[0]")
        assert len(log) == 3

    @pytest.mark.parametrize(
        "junk", [None, [], "text", {}, {"results": None}, {"results": {"videos": [3]}}]
    )
    def test_junk_becomes_an_empty_submission(self, annotations, junk):
        document, log = repair(junk, annotations)
        assert document["results"] == build_submission(annotations, {})["results"]
        assert log
        assert validate(document, annotations) == []


layouts = st.lists(
    st.lists(
        st.lists(st.sampled_from(["1", "12", "312", "4x"]), max_size=3), min_size=1, max_size=3
    ),
    max_size=3,
)


@given(layout=layouts, seed=st.integers(0, 999))
@settings(deadline=None)
def test_any_shuffled_submission_is_valid_again_after_repair(layout, seed):
    annotations = annotation_file(layout)
    rng = random.Random(seed)
    tracks = {
        QueryKey(v, c, a, name): response(rng.randrange(50), rng.randrange(1, 5), rng.random())
        for v, clips in enumerate(layout)
        for c, entries in enumerate(clips)
        for a, names in enumerate(entries)
        for name in names.strip("x")
        if rng.random() < 0.7
    }
    built = build_submission(annotations, tracks)
    assert validate(built, annotations) == []
    shuffled = copy.deepcopy(built)
    rng.shuffle(shuffled["results"]["videos"])
    for video in shuffled["results"]["videos"]:
        rng.shuffle(video["clips"])
        for clip in video["clips"]:
            rng.shuffle(clip["predictions"])
    assert repair(shuffled, annotations)[0] == built
