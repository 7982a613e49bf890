"""The command of the baselines on two short clips."""

from __future__ import annotations

import json

import pytest

from tests.clips import BLUE, FRAMES, RED, clip_json, frame, query_set, write_annotations
from tests.synthetic import write_video
from vq2d.commands import baseline


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ego")
    sets = {"1": query_set(RED, 4, 28, (15, 21)), "2": query_set(BLUE, 2, 28, (9, 14))}
    write_annotations(folder, [clip_json(uid, sets) for uid in ("one", "absent")])
    (folder / "v2/clips").mkdir()
    write_video(folder / "v2/clips/one.mp4", [frame(i) for i in range(FRAMES)])
    return folder


@pytest.fixture
def call(root, tmp_path):
    def run(*options):
        return baseline.main(["--data", str(root), "--out", str(tmp_path), *map(str, options)])

    return run


def read(path):
    return json.loads(path.read_text())


@pytest.mark.parametrize("method", ["held", "template"])
def test_a_method_writes_a_submission_and_the_official_figures(call, method, tmp_path, capsys):
    assert call("--method", method, "--limit", 2) == 0
    printed = capsys.readouterr().out
    assert "The submission is valid: 0 errors" in printed
    assert "The figures are over 2 of 4 queries; 2 were asked." in printed
    assert "stAP @ IoU=0.25" in printed
    clips = read(tmp_path / "submission.json")["results"]["videos"][0]["clips"]
    sets = clips[0]["predictions"][0]["query_sets"]
    assert all(answer["bboxes"] for answer in sets.values())
    assert len(read(tmp_path / "figures.json")["queries"]) == 2
    assert read(tmp_path / "failures.json") == {}


def test_an_absent_clip_is_listed_and_scored_as_missed(call, tmp_path, capsys):
    assert call("--method", "held") == 1
    assert "2 not answered, see" in capsys.readouterr().out
    failed = read(tmp_path / "failures.json")["not answered"]
    assert list(failed) == ["v0-c1-a0-q1", "v0-c1-a0-q2"]
    assert len(read(tmp_path / "figures.json")["queries"]) == 4


def test_what_is_wrong_with_the_command_line_is_said(call, root, tmp_path, capsys):
    assert call("--method", "template", "--skip-around-crop", -1) == 2
    assert "template.skip_around_crop must be a whole number" in capsys.readouterr().err
    assert call("--method", "held", "--split", "test") == 1
    assert "vq_test_unannotated.json is missing" in capsys.readouterr().err
    for options in (["--method", "best"], ["--method", "held", "--limit", "0"]):
        with pytest.raises(SystemExit, match="2"):
            call(*options)
