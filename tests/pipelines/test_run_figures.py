"""The instrument on small sets: one table, nothing answered twice, differences to earlier runs."""

from __future__ import annotations

import json

import pytest

from pipelines import run_figures
from pipelines.shared.figures import CHOOSING, REPORTING, find_set
from tests.clips import FRAMES, RED, clip_json, frame, query_set, write_annotations
from tests.job import CONFIG, tiny_localizer
from tests.synthetic import write_video

BLANK = 25  # a frame that shows neither square


def write_set(folder, *, absent=True):
    """Two clips with the red square and one without it."""
    queries = {"1": query_set(RED, 4, 28, (15, 21))}
    uids = {"one": queries, "two": queries, "blank": {}}
    folder.mkdir(parents=True)
    write_annotations(folder, [clip_json(uid, asked) for uid, asked in uids.items()])
    (folder / "v2/clips").mkdir()
    for uid, shade in (("one", 90), ("two", 110)):
        write_video(folder / f"v2/clips/{uid}.mp4", [frame(i, shade) for i in range(FRAMES)])
    write_video(folder / "v2/clips/blank.mp4", [frame(BLANK, 100)] * 20)
    if absent:
        shown = {"one": ["red"], "two": ["red"], "blank": []}
        asked = {"v0-c0-a0-q1": "red", "v0-c1-a0-q1": "red"}
        content = {"clips": shown, "queries": asked, "twins": []}
        (folder / "absent.json").write_text(json.dumps(content))


@pytest.fixture
def figures(tmp_path, monkeypatch):
    """The command on the sets under ``sets``, with tiny models; its folder and its results."""
    monkeypatch.setattr(
        run_figures, "chosen_localizer", lambda args: ("tiny", tiny_localizer(CONFIG))
    )
    write_set(tmp_path / "sets/made_dev")

    def run(*options, out="out"):
        return run_figures.main(
            [
                *("--roots", str(tmp_path / "sets")),
                *("--cache", str(tmp_path / "cache")),
                *("--out", str(tmp_path / out)),
                *options,
            ]
        )

    return tmp_path, run


def test_one_table_of_figures_losses_presence_and_cost(figures, capsys):
    folder, run = figures
    write_set(folder / "sets/holdout", absent=False)
    assert run("--sets", "made_dev", "holdout") == 0
    printed = capsys.readouterr().out
    for line in ("all sets", "lost by", "present or absent, made_dev", "processor seconds"):
        assert line in printed
    assert "present or absent, holdout" not in printed
    made, holdout = json.loads((folder / "out/figures.json").read_text())
    assert [len(f["rows"]) for f in (made, holdout)] == [2, 2]
    kinds = [row["kind"] for row in made["asked"]]
    assert sorted(kinds) == ["other", "other", "present", "present"]
    assert made["cost"]["queries"] == 2
    assert made["cost"]["processor_s"]["tokens"] > 0


def test_a_second_run_answers_nothing_and_still_tells_the_cost(figures, monkeypatch):
    folder, run = figures
    assert run("--sets", "made_dev") == 0
    first = json.loads((folder / "out/figures.json").read_text())
    monkeypatch.setattr("vq2d.localize.localizer.Localizer.localize", None)
    monkeypatch.setattr("vq2d.localize.localizer.Localizer.candidates", None)
    assert run("--sets", "made_dev") == 0
    assert json.loads((folder / "out/figures.json").read_text()) == first


def test_differences_to_an_earlier_run_are_printed_for_each_set_and_all(figures, capsys):
    folder, run = figures
    write_set(folder / "sets/holdout", absent=False)
    assert run("--sets", "made_dev", "holdout", out="earlier") == 0
    capsys.readouterr()
    against = ("--against", str(folder / "earlier"))
    assert run("--sets", "made_dev", "holdout", *against) == 0
    printed = capsys.readouterr().out
    assert printed.count("95 % interval") == 3
    assert printed.count("[+0.000, +0.000]") == 3 * 6


def test_reporting_sets_are_refused_without_report(figures, capsys):
    _, run = figures
    assert run("--sets", "made_test") == 2
    assert "may be measured with --report only" in capsys.readouterr().err


def test_report_adds_the_reporting_sets(figures, capsys):
    folder, run = figures
    write_set(folder / "sets/holdout2", absent=False)
    assert run("--sets", "made_dev", "--report") == 1  # three of them are missing here
    printed = capsys.readouterr().out
    assert "set               holdout2" in printed
    for name in ("made_test", "long_test", "sample"):
        assert f"no set {name} under" in printed


def test_a_query_that_fails_is_counted(figures, capsys):
    folder, run = figures
    (folder / "sets/made_dev/v2/clips/two.mp4").write_bytes(b"no video")
    assert run("--sets", "made_dev") == 1
    assert "failed; see failures.json" in capsys.readouterr().out


def test_a_set_is_found_in_the_first_folder_that_has_it(tmp_path):
    write_set(tmp_path / "b/made_dev", absent=False)
    assert find_set("made_dev", [tmp_path / "a", tmp_path / "b"]).root == tmp_path / "b/made_dev"
    assert find_set("made_dev", [tmp_path / "a"]) is None


def test_a_set_that_is_still_being_rendered_is_passed_over(tmp_path):
    (tmp_path / "a/made_dev/v2/annotations").mkdir(parents=True)
    assert find_set("made_dev", [tmp_path / "a"]) is None


def test_nothing_is_both_chosen_and_reported_on():
    assert not set(CHOOSING) & set(REPORTING)
