"""The six figures against the official evaluator's outputs, hand-computed cases and laws."""

import copy
import json
import math
import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ren_core.errors import DataError
from tests.places import CONFORMANCE
from vq2d.ego4d.documents import valid_query_sets
from vq2d.scoring.metrics import (
    METRICS,
    average_precision,
    compute,
    evaluate,
    per_query,
    usable_rows,
)
from vq2d.scoring.tubes import Tube, recovered_frames, temporal_iou, tube_iou

needs_shared = pytest.mark.skipif(
    not CONFORMANCE.is_dir(), reason="conformance data is not beside the project"
)
BOX = (0.0, 0.0, 10.0, 10.0)
PERFECT = {"tAP": 1, "tAP25": 1, "stAP": 1, "stAP25": 1, "success": 100, "recovery": 100}


def true_box(frame, xywh=(100.0, 100.0, 50.0, 40.0)):
    x, y, width, height = xywh
    return {
        "frame_number": frame,
        **{"x": x, "y": y, "width": width, "height": height},
        **{"original_width": 1000, "original_height": 500},
    }


def query_set(frames, **changes):
    return {
        "is_valid": True,
        "query_frame": 200,
        "response_track": [true_box(frame) for frame in frames],
        "visual_crop": true_box(300),
    } | changes


def annotation_file(*query_sets):
    sets = {str(i): q for i, q in enumerate(query_sets, start=1)}
    annotation = {"query_sets": sets, "annotation_uid": "a"}
    clip = {"clip_uid": None, "annotations": [annotation]}
    return {"version": "1", "videos": [{"video_uid": "v", "clips": [clip]}]}


def submission_file(*tracks):
    sets = {str(i): track for i, track in enumerate(tracks, start=1)}
    clip = {"clip_uid": None, "predictions": [{"query_sets": sets}]}
    results = {"videos": [{"video_uid": "v", "clips": [clip]}]}
    return {"version": "1", "challenge": "ego4d_vq2d_challenge", "results": results}


def track(frames, score=0.5, corners=(100, 100, 150, 140)):
    boxes = [dict(zip(("x1", "y1", "x2", "y2"), corners, strict=True), fno=f) for f in frames]
    return {"bboxes": boxes, "score": score}


def expected_figures(result):
    return {key: result["recovery_pct" if key == "recovery" else key] for key in METRICS}


@needs_shared
@pytest.mark.data
class TestConformance:
    def test_s101_overall(self):
        expected = json.loads((CONFORMANCE / "s101/expected.json").read_text())
        figures = evaluate(CONFORMANCE / "s101/predictions.json", CONFORMANCE / "s101/gt.json")
        assert list(figures) == list(METRICS)
        assert figures == pytest.approx(expected_figures(expected["overall"]), abs=1e-9)

    def test_s101_subsets(self):
        expected = json.loads((CONFORMANCE / "s101/expected.json").read_text())
        rows = per_query(CONFORMANCE / "s101/predictions.json", CONFORMANCE / "s101/gt.json")
        ranges = expected["area_ranges"]
        for name, (crop, truth) in expected["vc_rt_pairings"].items():
            members = [
                row
                for row in rows
                if ranges[crop][0] <= row.crop_area < ranges[crop][1]
                and ranges[truth][0] <= row.gt_max_area < ranges[truth][1]
            ]
            result = expected["subsets_official_area"][name]
            assert len(members) == result["n"]
            assert compute(members) == pytest.approx(expected_figures(result), abs=1e-9)

    def test_s101_rows(self):
        expected = json.loads((CONFORMANCE / "s101/per_query.json").read_text())
        truth = json.loads((CONFORMANCE / "s101/gt.json").read_text())
        rows = per_query(CONFORMANCE / "s101/predictions.json", truth)
        assert len(rows) == len(expected)
        for row in rows:
            clip = truth["videos"][row.key.video_idx]["clips"][row.key.clip_idx]
            uid = clip["annotations"][row.key.annotation_idx]["annotation_uid"]
            wanted = expected[f"{uid}_{row.key.query_set}"]
            assert row.clip_uid == wanted["clip_uid"]
            assert row.t_iou == pytest.approx(wanted["tIoU"], abs=1e-12)
            assert row.st_iou == pytest.approx(wanted["stIoU"], abs=1e-12)
            assert row.recovered_frames == wanted["frames_iou_ge_0.5"]
            assert (row.score, row.gt_frames) == (wanted["score"], wanted["gt_frames"])

    def test_edge_cases(self):
        folder = CONFORMANCE / "edge_cases"
        cases = json.loads((folder / "expected.json").read_text())["cases"]
        assert cases
        for case in cases:
            files = folder / case["pred"], folder / case["gt"]
            if case.get("exception"):
                with pytest.raises(DataError):
                    evaluate(*files)
            elif case.get("result"):
                wanted = expected_figures(case["result"])
                assert evaluate(*files) == pytest.approx(wanted, abs=1e-9), case["name"]
            else:
                assert all(map(math.isnan, evaluate(*files).values())), case["name"]

    def test_mutated_submissions(self):
        folder = CONFORMANCE / "submission"
        for case in json.loads((folder / "validator_messages.json").read_text())["results"]:
            files = folder / case["file"], folder / "gt_annotated.json"
            if not case["evaluate_vq"]["accepted"]:
                with pytest.raises(DataError, match="cannot be scored"):
                    evaluate(*files)
            elif "metrics_on_gt_annotated" in case:
                wanted = expected_figures(case["metrics_on_gt_annotated"])
                assert evaluate(*files) == pytest.approx(wanted, abs=1e-9)
            else:
                assert evaluate(*files)["tAP"] > 0


class TestTubes:
    def test_temporal_iou_counts_both_ends(self):
        a = Tube.from_pairs((frame, BOX) for frame in range(10, 20))
        b = Tube.from_pairs((frame, BOX) for frame in range(19, 29))
        assert temporal_iou(a, b) == 1 / 19

    def test_tube_iou_by_hand(self):
        # 100 px in common in each of 2 frames; volumes 300 and 400.
        a = Tube.from_pairs((frame, BOX) for frame in (1, 2, 3))
        b = Tube.from_pairs((frame, (0.0, 0.0, 10.0, 20.0)) for frame in (2, 3))
        assert tube_iou(a, b) == 200 / (300 + 400 - 200)

    def test_empty_tube_is_a_miss(self):
        a, empty = Tube.from_pairs([(0, BOX)]), Tube.from_pairs([])
        assert temporal_iou(empty, a) == tube_iou(empty, a) == recovered_frames(empty, a, 0.5) == 0

    def test_recovery_threshold_is_inclusive(self):
        truth = Tube.from_pairs([(0, BOX)])
        half = Tube.from_pairs([(0, (0.0, 0.0, 10.0, 5.0))])
        assert recovered_frames(half, truth, 0.5) == 1
        assert recovered_frames(half, truth, 0.51) == 0

    def test_hole_is_refused(self):
        with pytest.raises(DataError, match=r"2 boxes cannot fill frames 1\.\.3"):
            Tube.from_pairs([(3, BOX), (1, BOX)])


class TestAveragePrecision:
    def test_perfect_and_worst_ranking_of_half_hits(self):
        assert average_precision([4, 3, 2, 1], [1, 1, 0, 0], 0.5) == 0.5
        assert average_precision([1, 2, 3, 4], [1, 1, 0, 0], 0.5) == 0.25

    def test_of_equal_scores_the_later_query_ranks_first(self):
        assert average_precision([1, 1], [0, 1], 0.5) == 0.5
        assert average_precision([1, 1], [1, 0], 0.5) == 0.25

    def test_threshold_is_inclusive(self):
        assert average_precision([1], [0.25], 0.25) == 1
        assert average_precision([1], [0.2499], 0.25) == 0

    def test_nan_ranks_first_and_overlap_nan_is_a_hit(self):
        # The official evaluator's peculiarities: descending order reverses numpy's NaN-last,
        # and a miss is what compares as below the threshold.
        assert average_precision([9, math.nan], [0, 1], 0.5) == 0.5
        assert average_precision([1], [math.nan], 0.5) == 1

    @given(st.lists(st.tuples(st.floats(-9, 9), st.floats(0, 1)), min_size=1, max_size=30))
    def test_against_the_definition(self, pairs):
        # VOC 2011: the mean over recall levels k/Q of the best precision at recall >= k/Q.
        scores, ious = zip(*pairs, strict=True)
        ranked = sorted(range(len(pairs)), key=lambda i: (scores[i], i), reverse=True)
        points, hits = [], 0
        for seen, i in enumerate(ranked, start=1):
            hits += ious[i] >= 0.5
            points.append((hits, hits / seen))
        levels = [max(p for h, p in points if h >= k) for k in range(1, hits + 1)]
        got = average_precision(scores, ious, 0.5)
        assert got == pytest.approx(sum(levels) / len(pairs), abs=1e-12)


class TestEvaluate:
    def test_recovery_is_weighted_by_frames(self):
        truth = annotation_file(query_set(range(10)), query_set(range(30)))
        figures = evaluate(submission_file(track(range(10), 0.9), track([], 0.1)), truth)
        assert figures["recovery"] == 25
        assert figures["success"] == 50
        assert figures["tAP"] == figures["stAP25"] == 0.5

    def test_row_describes_its_query(self):
        truth = annotation_file(query_set(range(10, 14)))
        (row,) = per_query(submission_file(track(range(10, 12), 0.7)), truth)
        assert str(row.key) == "v0-c0-a0-q1"
        assert (row.gt_frames, row.predicted_frames, row.recovered_frames) == (4, 2, 2)
        assert (row.t_iou, row.st_iou, row.success) == (0.5, 0.5, True)
        assert row.frames_before_query == 200 - 13
        assert row.size_fraction == pytest.approx(math.sqrt(2000 / 500_000))
        assert row.gt_max_area == row.crop_area == 2000

    @pytest.mark.parametrize("unknown", [None, "late"])
    def test_unknown_query_frame_and_frame_size_are_nan(self, unknown):
        bare = [{k: v for k, v in true_box(3).items() if not k.startswith("original")}]
        truth = annotation_file(query_set([], response_track=bare, query_frame=unknown))
        (row,) = per_query(submission_file(track([3])), truth)
        assert math.isnan(row.frames_before_query)
        assert math.isnan(row.size_fraction)

    def test_invalid_sets_are_not_scored(self):
        truth = annotation_file(query_set([1]), {"is_valid": False, "errors": []})
        assert evaluate(submission_file(track([1])), truth) == PERFECT

    def test_areas_outside_the_official_range_are_left_out(self, caplog):
        huge = query_set([1], visual_crop=true_box(0, (0, 0, 1e5, 1e5)))
        truth = annotation_file(query_set([1]), huge)
        assert evaluate(submission_file(track([1]), track([])), truth) == PERFECT
        assert "left out" in caplog.text

    def test_text_scores_rank_as_text(self):
        truth = annotation_file(query_set([1]), query_set([1]))
        files = submission_file(track([1], "9"), track([], "10")), truth
        assert evaluate(*files)["tAP"] == 0.5  # "9" > "10"
        mixed = submission_file(track([1], "9"), track([], 10)), truth
        with pytest.raises(DataError, match="cannot be ranked"):
            evaluate(*mixed)

    def test_files_are_read(self, tmp_path):
        (tmp_path / "a.json").write_text(json.dumps(annotation_file(query_set([1]))))
        (tmp_path / "p.json").write_text(json.dumps(submission_file(track([1]))))
        assert evaluate(str(tmp_path / "p.json"), tmp_path / "a.json") == PERFECT
        (tmp_path / "p.json").write_text("[1, 2")
        with pytest.raises(DataError, match="is not JSON"):
            evaluate(tmp_path / "p.json", tmp_path / "a.json")
        with pytest.raises(DataError, match="cannot read"):
            evaluate(tmp_path / "none.json", tmp_path / "a.json")

    @pytest.mark.parametrize(
        ("changes", "match"),
        [
            ({"response_track": []}, "no response tracks"),
            ({"response_track": [{"frame_number": 1}]}, "is damaged"),
            ({"response_track": [true_box(1), true_box(3)]}, "cannot fill frames"),
            ({"visual_crop": None}, "visual crop"),
            ({"response_track": [true_box(1, (1, 1, 0, 0))]}, "add up to zero"),
        ],
    )
    def test_what_breaks_the_official_code_is_named(self, changes, match):
        truth = annotation_file(query_set([1], **changes))
        prediction = submission_file(track([1], corners=(5, 5, 5, 5)))
        with pytest.raises(DataError, match=match):
            evaluate(prediction, truth)

    def test_one_query_without_truth_among_others(self):
        truth = annotation_file(query_set([1]), query_set([]))
        with pytest.raises(DataError, match="v0-c0-a0-q2 is valid but has no response track"):
            evaluate(submission_file(track([1]), track([1])), truth)

    @pytest.mark.parametrize(
        "changes",
        [
            {"response_track": []},
            {"response_track": None},
            {"response_track": 7},
            {"response_track": [None]},
            {"response_track": [{"frame_number": 1}]},
            {"response_track": [true_box(1, ("a", 0, "b", 1))]},
            {"response_track": [true_box(1, (math.nan, 0, 9, 9))]},
            {"response_track": [true_box(1), true_box(3)]},
            {"response_track": [true_box(1, (1, 1, 0, 0))]},
            {"visual_crop": None},
            {"visual_crop": true_box(0, (0, 0, 1e5, 1e5))},
        ],
    )
    def test_damaged_truth_costs_only_its_own_query(self, changes):
        truth = annotation_file(query_set([1]), query_set([1], **changes), query_set([1]))
        prediction = submission_file(track([1]), track([1], corners=(5, 5, 5, 5)), track([]))
        queries = list(valid_query_sets(truth))
        scores = usable_rows(prediction, queries)
        assert [row.key.query_set for row in scores.rows] == ["1", "3"]
        (reason,) = scores.left_out.values()
        assert list(scores.left_out) == [queries[1].key]
        assert len(reason) > 20
        assert compute(scores.rows)["success"] == 50
        assert usable_rows(prediction, queries[1:]).rows == scores.rows[1:]

    def test_usable_rows_are_those_of_the_strict_evaluator(self):
        truth = annotation_file(query_set([1, 2]), query_set([5]))
        prediction = submission_file(track([1], 0.9), track([5], 0.1))
        rows = usable_rows(prediction, list(valid_query_sets(truth))).rows
        assert rows == per_query(prediction, truth)

    def test_single_inverted_side_may_cancel(self):
        # Signed areas 2000 and -2000 in the one common frame: 0 / 0, as officially.
        prediction = submission_file(track([1], corners=(150, 100, 100, 140)))
        with pytest.raises(DataError, match="inverted box"):
            evaluate(prediction, annotation_file(query_set([1])))

    def test_no_rows_have_no_figures(self):
        assert all(math.isnan(value) for value in compute([]).values())


spans = st.lists(st.tuples(st.integers(0, 50), st.integers(1, 8)), min_size=1, max_size=6)


@given(spans=spans)
@settings(deadline=None)
def test_perfect_predictions_have_perfect_figures(spans):
    frames = [range(start, start + length) for start, length in spans]
    truth = annotation_file(*map(query_set, frames))
    tracks = [track(f, score=i) for i, f in enumerate(frames)]
    assert evaluate(submission_file(*tracks), truth) == pytest.approx(PERFECT)


@given(spans=spans, seed=st.integers(0, 999))
@settings(deadline=None)
def test_order_of_boxes_does_not_matter(spans, seed):
    truth = annotation_file(*[query_set(range(20, 30)) for _ in spans])
    tracks = [track(range(s, s + n), score=s) for s, n in spans]
    shuffled = copy.deepcopy(tracks)
    for each in shuffled:
        random.Random(seed).shuffle(each["bboxes"])
    assert evaluate(submission_file(*shuffled), truth) == evaluate(submission_file(*tracks), truth)


@given(spans=spans, power=st.sampled_from([1, 3, 5]), shift=st.integers(-5, 5))
@settings(deadline=None)
def test_only_the_rank_of_scores_matters(spans, power, shift):
    truth = annotation_file(*[query_set(range(20, 30)) for _ in spans])
    rows = per_query(
        submission_file(*[track(range(s, s + n), score=s - 25) for s, n in spans]), truth
    )
    moved = [replace(row, score=2 * row.score**power + shift) for row in rows]
    assert compute(moved) == compute(rows)


@given(answered=st.lists(st.booleans(), min_size=1, max_size=8))
@settings(deadline=None)
def test_empty_predictions_are_misses(answered):
    truth = annotation_file(*[query_set([5, 6]) for _ in answered])
    tracks = [track([5, 6] if yes else [], score=float(yes)) for yes in answered]
    share = sum(answered) / len(answered)
    wanted = {key: share * value for key, value in PERFECT.items()}
    assert evaluate(submission_file(*tracks), truth) == pytest.approx(wanted)
