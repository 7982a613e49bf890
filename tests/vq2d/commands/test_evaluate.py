"""The scoring command on small files: figures, groups, losses, exit codes."""

import copy
import json

import pytest

from ren_core.errors import DataError
from tests.places import CONFORMANCE
from tests.query_results import row
from vq2d.commands.evaluate import main
from vq2d.scoring.breakdown import BINNINGS, breakdown, count_losses, lost_at, read_traces
from vq2d.scoring.metrics import METRICS
from vq2d.types import QueryKey

TRACE = {
    "best_frame_in_truth": True,
    "candidate_in_truth": True,
    "tracked_candidate_in_truth": True,
    "seed_box_iou": 0.9,
    "reason": "last peak",
}


def query_set(**changes):
    box = {"frame_number": 9, "x": 10, "y": 10, "width": 20, "height": 20}
    size = {"original_width": 100, "original_height": 100}
    return {
        "is_valid": True,
        "query_frame": 19,
        "response_track": [box | size],
        "visual_crop": box | size,
    } | changes


@pytest.fixture
def annotations():
    clip = {
        "clip_uid": "c",
        "annotations": [{"query_sets": {"1": query_set(), "2": query_set()}}],
    }
    return {"version": "1", "videos": [{"video_uid": "v", "clips": [clip]}]}


@pytest.fixture
def submission():
    hit = {"bboxes": [{"fno": 9, "x1": 10, "y1": 10, "x2": 30, "y2": 30}], "score": 0.9}
    sets = {"1": hit, "2": {"bboxes": [], "score": 0.0}}
    clip = {"clip_uid": "c", "predictions": [{"query_sets": sets}]}
    results = {"videos": [{"video_uid": "v", "clips": [clip]}]}
    return {"version": "1", "challenge": "ego4d_vq2d_challenge", "results": results}


@pytest.fixture
def call(tmp_path, annotations, submission):
    """Write the two documents, which the test may have changed, and run the command."""

    def run(*options):
        (tmp_path / "p.json").write_text(json.dumps(submission))
        (tmp_path / "a.json").write_text(json.dumps(annotations))
        files = ["--predictions", tmp_path / "p.json", "--annotations", tmp_path / "a.json"]
        return main([str(option) for option in (*files, *options)])

    return run


class TestCommand:
    def test_figures_and_groups(self, call, capsys):
        assert call() == 0
        out = capsys.readouterr().out
        assert "tAP @ IoU=0.25       |      0.500" in out
        assert "recovery %           |     50.000" in out
        lines = {line[:40].strip(): line[40:].split() for line in out.splitlines()}
        assert lines["track length      1-5 frames"][:2] == ["2", "0.500"]
        assert lines["before the query  under 5 s"][0] == "2"
        assert lines["object size       20 % and more"][0] == "2"
        assert lines["object size       under 10 % of frame"] == ["0", *"------"]

    def test_faults_of_the_annotation_file_are_named_and_read_around(
        self, call, annotations, caplog, capsys
    ):
        clip = annotations["videos"][0]["clips"][0]
        del clip["annotations"][0]["query_sets"]["1"]["is_valid"]
        annotations["videos"].append({"video_uid": "w", "clips": None})
        assert call() == 1
        assert "1 entries, expected 2" in capsys.readouterr().out
        assert 'v1: "clips" is None, expected a list' in caplog.text
        annotations["videos"].pop()
        assert call() == 0

    def test_another_version_can_be_expected(self, call, submission, capsys):
        submission["version"] = "1.0.5"
        assert call() == 1
        assert "found '1.0.5', expected '1'" in capsys.readouterr().out
        assert call("--version", "1.0.5") == 0

    @pytest.mark.data
    @pytest.mark.skipif(not CONFORMANCE.is_dir(), reason="conformance data is absent")
    def test_prints_what_the_official_script_prints(self, capsys):
        folder = CONFORMANCE / "s101"
        files = f"--predictions {folder}/predictions.json --annotations {folder}/gt.json"
        assert main(files.split()) == 0
        out = capsys.readouterr().out.splitlines()
        official = (folder / "evaluate_vq_stdout.txt").read_text().splitlines()
        figures = [line for line in official if " | " in line]
        assert len(figures) == 6
        assert [line for line in out if " | " in line] == figures

    def test_report(self, call, submission, annotations, tmp_path):
        annotations["videos"][0]["clips"][0]["annotations"][0]["query_sets"]["1"].pop("query_frame")
        assert call("--json", tmp_path / "sub" / "out.json") == 0
        report = json.loads((tmp_path / "sub" / "out.json").read_text())
        assert report["metrics"]["success"] == 50
        assert [q["key"]["query_set"] for q in report["queries"]] == ["1", "2"]
        assert report["queries"][0]["frames_before_query"] is None  # NaN is no JSON
        assert report["problems"] == []
        assert sum(g["count"] for g in report["groups"] if g["split"] == "before the query") == 2
        assert report["seconds"] >= 0

    def test_invalid_submission_fails_with_its_place(self, call, submission, capsys, tmp_path):
        submission["version"] = "2"
        assert call("--json", tmp_path / "out.json") == 1
        out = capsys.readouterr().out
        assert "error: version: found '2', expected '1'" in out
        assert "tAP" not in out
        assert json.loads((tmp_path / "out.json").read_text())["problems"][0]["path"] == "version"

    def test_many_problems_are_cut_short_errors_first(self, call, annotations, submission, capsys):
        sets = annotations["videos"][0]["clips"][0]["annotations"][0]["query_sets"]
        found = submission["results"]["videos"][0]["clips"][0]["predictions"][0]["query_sets"]
        for i in range(3, 30):
            sets[str(i)], found[str(i)] = query_set(), {"bboxes": [], "score": True}
        found["29"] = {"bboxes": [], "score": None}
        assert call() == 1
        out = capsys.readouterr().out.splitlines()
        assert out[0].startswith("error:")
        assert out[-2] == "... and 7 more"
        assert out[-1] == "The submission is not valid: 1 errors, 26 warnings."

    def test_repair_goes_on_with_the_mended_file(self, call, submission, tmp_path, capsys):
        submission["version"] = "2"
        assert call("--repair", tmp_path / "mended.json") == 0
        out = capsys.readouterr().out
        assert "repair: 1 changes" in out
        assert "version: '2' became '1'" in out
        assert "success              |     50.000" in out
        assert json.loads((tmp_path / "mended.json").read_text())["version"] == "1"

    def test_validate_only(self, call, capsys):
        assert call("--validate-only") == 0
        out = capsys.readouterr().out
        assert out == "The submission is valid: 0 errors, 0 warnings.\n"

    def test_split_without_truth_is_validated_only(self, call, annotations, capsys):
        sets = annotations["videos"][0]["clips"][0]["annotations"][0]["query_sets"]
        sets["1"].pop("response_track")
        sets["2"]["response_track"] = None
        assert call() == 0
        assert "has no response tracks, so the form was checked" in capsys.readouterr().out

    def test_file_without_valid_query(self, call, annotations, submission, capsys):
        annotations["videos"][0]["clips"] = submission["results"]["videos"][0]["clips"] = []
        assert call() == 0
        assert "nothing to score" in capsys.readouterr().out

    def test_what_cannot_be_scored_fails(self, call, annotations, capsys, tmp_path):
        sets = annotations["videos"][0]["clips"][0]["annotations"][0]["query_sets"]
        sets["2"]["response_track"] = []
        assert call() == 1
        assert "v0-c0-a0-q2 is valid but has no response track" in capsys.readouterr().err
        assert main(["--predictions", str(tmp_path / "x"), "--annotations", "y"]) == 1

    def test_usage(self, call):
        with pytest.raises(SystemExit, match="2"):
            main([])
        with pytest.raises(SystemExit, match="2"):
            call("--validate-only", "--trace", "t.json")

    def test_trace(self, call, tmp_path, capsys):
        lost = TRACE | {"tracked_candidate_in_truth": False, "best_frame_in_truth": False}
        traces = {"v0-c0-a0-q1": TRACE, "v0-c0-a0-q2": lost | {"seed_box_iou": None}}
        (tmp_path / "t.json").write_text(json.dumps(traces))
        assert call("--trace", tmp_path / "t.json", "--json", tmp_path / "out.json") == 0
        out = capsys.readouterr().out
        lines = {line[:26].strip(): line[26:].split() for line in out.splitlines()}
        assert lines["candidate not chosen"] == lines["found"] == ["1", "50.0%"]
        assert lines["track wrong"] == ["0", "0.0%"]
        assert "in the truth for 1 of 2 queries" in out
        report = json.loads((tmp_path / "out.json").read_text())
        assert report["losses"]["candidate not chosen"] == 1
        assert report["reasons"] == {"last peak": 1}

    def test_foreign_trace_fails(self, call, tmp_path, capsys):
        (tmp_path / "t.json").write_text(json.dumps({"v9-c0-a0-q1": TRACE}))
        assert call("--trace", tmp_path / "t.json") == 1
        assert "belong to no query" in capsys.readouterr().err


class TestTwoSubmissions:
    """Run a is the submission of the fixture, which finds one query of two; b finds both."""

    @pytest.fixture
    def compare(self, tmp_path, annotations, submission):
        def run(*options, b=None):
            if b is None:
                b = copy.deepcopy(submission)
                sets = b["results"]["videos"][0]["clips"][0]["predictions"][0]["query_sets"]
                sets["2"] = sets["1"]
            for name, document in (("p", submission), ("q", b), ("a", annotations)):
                (tmp_path / f"{name}.json").write_text(json.dumps(document))
            files = ["--predictions", tmp_path / "p.json", tmp_path / "q.json"]
            rest = ["--annotations", tmp_path / "a.json", *options]
            return main([str(option) for option in (*files, *rest)])

        return run

    def test_table(self, compare, capsys):
        assert compare() == 0
        out = capsys.readouterr().out
        assert "p.json\nThe submission is valid" in out
        assert "q.json\nThe submission is valid" in out
        assert "a.json: 2 queries; 10000 paired resamples of 2 queries, seed 0" in out
        lines = {line[:20].strip(): line[23:].split() for line in out.splitlines()}
        # Of two queries drawn, none, one or both are those that b alone finds: 1/4, 1/2, 1/4.
        assert lines["success"] == ["50.000", "100.000", "+50.000", "[+0.000,", "+100.000]", "no"]
        assert lines["tAP @ IoU=0.25"][:3] == ["0.500", "1.000", "+0.500"]
        assert lines["recovery %"][:3] == ["50.000", "100.000", "+50.000"]

    def test_report(self, compare, tmp_path):
        options = ("--resamples", "200", "--seed", "7")
        assert compare("--json", tmp_path / "out.json", *options) == 0
        report = json.loads((tmp_path / "out.json").read_text())
        assert report["predictions"] == [str(tmp_path / "p.json"), str(tmp_path / "q.json")]
        assert report["problems"] == [[], []]
        assert (report["bootstrap"]["resamples"], report["bootstrap"]["seed"]) == (200, 7)
        assert list(report["comparison"]["figures"]) == list(METRICS)
        success = report["comparison"]["figures"]["success"]
        assert (success["a"], success["b"], success["difference"]) == (50, 100, 50)
        assert (success["low"], success["high"], success["seen"]) == (0, 100, False)
        assert [[q["success"] for q in rows] for rows in report["queries"]] == [[1, 0], [1, 1]]

    def test_same_submission_twice(self, compare, submission, capsys):
        assert compare(b=submission) == 0
        table = [line for line in capsys.readouterr().out.splitlines() if " | " in line][1:]
        assert len(table) == len(METRICS)
        assert all(line.endswith("+0.000  [+0.000, +0.000]      no") for line in table)

    def test_one_clip_cannot_be_drawn_from(self, compare, capsys):
        assert compare("--unit", "clip") == 1
        assert "found 1 to draw from with the unit 'clip'" in capsys.readouterr().err

    def test_either_may_be_invalid(self, compare, submission, tmp_path, capsys):
        assert compare("--json", tmp_path / "out.json", b=submission | {"version": "2"}) == 1
        out = capsys.readouterr().out
        assert "q.json\nerror: version: found '2', expected '1'" in out
        assert "seen" not in out
        report = json.loads((tmp_path / "out.json").read_text())
        assert report["problems"][0] == []
        assert report["problems"][1][0]["path"] == "version"
        submission["version"] = "2"
        assert compare(b=submission | {"version": "1"}) == 1
        assert "cannot be scored" not in capsys.readouterr().err  # found before scoring

    def test_validate_only(self, compare, capsys):
        assert compare("--validate-only") == 0
        assert "success" not in capsys.readouterr().out

    def test_split_without_truth(self, compare, annotations, capsys):
        for query in annotations["videos"][0]["clips"][0]["annotations"][0]["query_sets"].values():
            query["response_track"] = None
        assert compare() == 0
        assert "has no response tracks" in capsys.readouterr().out

    @pytest.mark.parametrize("option", ["--trace", "--repair"])
    def test_options_of_one_submission(self, compare, option, capsys):
        with pytest.raises(SystemExit, match="2"):
            compare(option, "x.json")
        assert "--trace and --repair go with one submission" in capsys.readouterr().err

    def test_options_of_a_comparison(self, call, compare, capsys):
        with pytest.raises(SystemExit, match="2"):
            call("--resamples", "200")
        with pytest.raises(SystemExit, match="2"):
            compare("--validate-only", "--seed", "1")
        assert capsys.readouterr().err.count("need a comparison") == 2
        assert compare("--unit", "video") == 2
        assert "unit must be 'query' or 'clip'; got 'video'" in capsys.readouterr().err

    def test_three_files(self, capsys):
        with pytest.raises(SystemExit, match="2"):
            main(["--predictions", "a", "b", "c", "--annotations", "d"])
        last = capsys.readouterr().err.splitlines()[-1]
        assert "got 3 files, expected one to score or two to compare; compare more runs" in last


class TestBreakdown:
    @pytest.mark.parametrize(
        ("changes", "labels"),
        [
            (
                {"gt_frames": 5, "size_fraction": 0.0999, "frames_before_query": 24}
                | {"searched_frames": 149},
                ("1-5 frames", "under 10 % of frame", "under 5 s", "under 30 s"),
            ),
            (
                {"gt_frames": 6, "size_fraction": 0.1, "frames_before_query": 25}
                | {"searched_frames": 150},
                ("6-15", "10-20 %", "5-20 s", "30-60 s"),
            ),
            (
                {"gt_frames": 16, "size_fraction": 0.2, "frames_before_query": 100}
                | {"searched_frames": 750},
                ("16 and more", "20 % and more", "20 s and more", "150 s and more"),
            ),
            (
                dict.fromkeys(
                    ("size_fraction", "frames_before_query", "searched_frames"), float("nan")
                ),
                ("6-15", "unknown", "unknown", "unknown"),
            ),
        ],
    )
    def test_bins(self, changes, labels):
        assert tuple(split.label(row(**changes)) for split in BINNINGS) == labels

    def test_unknown_is_shown_only_where_it_occurs(self):
        rows = [row(t_iou=1.0), row(size_fraction=float("nan"))]
        groups = breakdown(rows, BINNINGS[1:2])
        assert [(g.label, g.count) for g in groups][1:] == [
            ("10-20 %", 1),
            ("20 % and more", 0),
            ("unknown", 1),
        ]
        assert groups[1].figures["tAP"] == 1


class TestLosses:
    @pytest.mark.parametrize(
        ("changes", "st_iou", "stage"),
        [
            ({"candidate_in_truth": False, "tracked_candidate_in_truth": False}, 0.3, "found"),
            ({}, 0.25, "found"),
            ({}, 0.24, "track wrong"),
            ({"seed_box_iou": 0.5}, 0.0, "track wrong"),
            ({"seed_box_iou": 0.49}, 0.0, "box wrong"),
            ({"seed_box_iou": None}, 0.0, "box wrong"),
            ({"tracked_candidate_in_truth": False}, 0.0, "candidate not chosen"),
            (
                {"candidate_in_truth": False, "tracked_candidate_in_truth": False},
                0.0,
                "not among candidates",
            ),
        ],
    )
    def test_first_stage_that_lost_it(self, changes, st_iou, stage):
        trace = read_traces({"k": TRACE | changes})["k"]
        assert lost_at(row(st_iou=st_iou), trace) == stage

    def test_queries_without_trace_are_counted(self):
        rows = [row(), row(key=QueryKey(0, 0, 0, "2"))]
        counts = count_losses(rows, read_traces({"v0-c0-a0-q1": TRACE}))
        assert (counts["track wrong"], counts["no trace"]) == (1, 1)

    @pytest.mark.parametrize(
        ("entry", "match"),
        [
            (3, "must be an object"),
            ({"reason": ""}, "exactly best_frame_in_truth"),
            (TRACE | {"candidate_in_truth": 1}, "true or false"),
            (TRACE | {"seed_box_iou": "0.5"}, "number or null"),
            (TRACE | {"reason": None}, "reason text"),
        ],
    )
    def test_damaged_traces(self, entry, match):
        with pytest.raises(DataError, match=match):
            read_traces({"k": entry})
