"""``run_vq2d.main`` with tiny models: damage costs only what it touches, kills cost nothing."""

from __future__ import annotations

import copy
import json
import multiprocessing
import os
import random
import signal
import time
from pathlib import Path

import pytest
import torch

from ren_core.stages import file_fingerprint
from tests.clips import BLUE, FRAMES, RED, clip_json, frame, query_set, write_annotations
from tests.job import tiny_localizer
from tests.places import SAMPLE
from tests.synthetic import write_video
from vq2d.commands import run as run_vq2d
from vq2d.commands.shared import annotations_of
from vq2d.job.oracle import track_candidate
from vq2d.show import files as pictures


def tiny_models(args):
    return "tiny", tiny_localizer()


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    for uid, shade in (("one", 90), ("two", 110)):
        write_video(folder / f"{uid}.mp4", [frame(i, shade) for i in range(FRAMES)])
    return folder


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def run(clips, cache, tmp_path, monkeypatch):
    """Runs the main job on two clips of two queries each, whose annotations a function edits."""
    monkeypatch.setattr(run_vq2d, "chosen_localizer", tiny_models)

    def run_on(change=lambda document: None, *options, videos=False):
        write_root(tmp_path / "ego", clips, change)
        folders = ["--data", tmp_path / "ego", "--out", tmp_path / "out", "--cache", cache]
        quiet = [] if videos else ["--no-videos"]
        return run_vq2d.main([*map(str, folders), *quiet, *options])

    return run_on


def write_root(root, clips, change):
    if not root.exists():
        sets = {"1": query_set(RED, 4, 28, (15, 21)), "2": query_set(BLUE, 2, 28, (9, 14))}
        write_annotations(root, [clip_json(uid, copy.deepcopy(sets)) for uid in ("one", "two")])
        (root / "v2/clips").symlink_to(clips)
    path = root / "v2/annotations/vq_val.json"
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def second_clip(document):
    return document["videos"][0]["clips"][1]


def first_set(document):
    return second_clip(document)["annotations"][0]["query_sets"]["1"]


def read(path):
    return json.loads(path.read_text())


MALFORMED = {
    "query_sets is null": lambda d: second_clip(d)["annotations"].append({"query_sets": None}),
    "no is_valid": lambda d: first_set(d).pop("is_valid"),
    "annotations is null": lambda d: second_clip(d).update(annotations=None),
    "no clip_uid": lambda d: second_clip(d).pop("clip_uid"),
    "clip is null": lambda d: d["videos"][0]["clips"].append(None),
}


@pytest.mark.parametrize("fault", MALFORMED)
def test_a_malformed_entry_does_not_cost_the_submission(run, tmp_path, fault):
    code = run(MALFORMED[fault])
    failures = read(tmp_path / "out/failures.json")
    lost = ["v0-c1-a0-q1", "v0-c1-a0-q2"] if fault == "no clip_uid" else []
    assert list(failures.get("not answered", {})) == lost
    assert code == bool(failures)
    sets = read(tmp_path / "out/submission.json")["results"]["videos"][0]["clips"]
    assert sets[0]["predictions"][0]["query_sets"]["1"]["bboxes"]
    assert (tmp_path / "out/index.html").exists()
    assert read(tmp_path / "out/figures.json")["metrics"]["success"] > 0


def test_a_missing_version_stops_the_run_before_the_models(run, tmp_path, monkeypatch, capsys):
    def no_models(args):
        raise AssertionError("models were loaded")

    with monkeypatch.context() as patch:
        patch.setattr(run_vq2d, "chosen_localizer", no_models)
        assert run(lambda d: d.pop("version")) == 1
    assert "no version to echo" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert run(lambda d: None, "--version", "9.9") == 0
    assert read(tmp_path / "out/submission.json")["version"] == "9.9"
    assert "The submission is valid" in capsys.readouterr().out


DAMAGED_TRUTH = {
    "hole": lambda d: first_set(d)["response_track"].pop(2),
    "empty": lambda d: first_set(d).update(response_track=[]),
    "no crop": lambda d: first_set(d).update(visual_crop=None),
}


@pytest.mark.parametrize("fault", DAMAGED_TRUTH)
def test_damaged_truth_costs_the_figures_one_query(run, tmp_path, capsys, fault):
    assert run(DAMAGED_TRUTH[fault]) == 1
    printed = capsys.readouterr().out
    assert "The figures are over 3 of 4 queries; 4 were asked." in printed
    assert "left out of the figures: v0-c1-a0-q1: " in printed
    assert "not answered" in printed or fault != "no crop"
    failures = read(tmp_path / "out/failures.json")
    assert list(failures["left out of the figures"]) == ["v0-c1-a0-q1"]
    assert len(read(tmp_path / "out/figures.json")["queries"]) == 3
    page = (tmp_path / "out/index.html").read_text()
    assert "3 of 4" in page
    assert page.count('<section class="card"') == 4


def test_a_query_that_cannot_be_drawn_is_listed(run, tmp_path, monkeypatch):
    def draw(view, path):
        if "c1-a0-q2" in path.name:
            raise ValueError("no ink")
        draw_summary(view, path)

    draw_summary = pictures.draw_summary
    monkeypatch.setattr(pictures, "draw_summary", draw)
    assert run() == 1
    assert read(tmp_path / "out/failures.json") == {
        "not drawn": {"v0-c1-a0-q2": "ValueError: no ink"}
    }
    page = (tmp_path / "out/index.html").read_text()
    assert "not drawn: ValueError: no ink" in page
    assert len(list((tmp_path / "out/media").glob("*.png"))) == 3
    assert read(tmp_path / "out/figures.json")["metrics"]["success"] == 100
    monkeypatch.undo()
    monkeypatch.setattr(run_vq2d, "chosen_localizer", tiny_models)
    assert run() == 0
    assert len(list((tmp_path / "out/media").glob("*.png"))) == 4


def test_a_query_that_cannot_be_tracked_from_its_true_box_is_listed(run, tmp_path, monkeypatch):
    def track(seed, frames, *rest):
        if seed.box_xyxy[1] > 30:  # the blue one's
            raise RuntimeError("lost")
        return track_candidate(seed, frames, *rest)

    monkeypatch.setattr("vq2d.job.oracle.track_candidate", track)
    assert run(lambda d: None, "--true-seeds") == 1
    listed = read(tmp_path / "out/failures.json")["not tracked from the true box"]
    assert list(listed.values()) == ["RuntimeError: lost"] * 2
    assert (tmp_path / "out/figures-true-seeds.json").exists()


def test_every_oracle_writes_a_submission_and_a_row(run, tmp_path, capsys):
    assert run(lambda d: None, "--oracle", "outlines", "occurrence", "--true-seeds") == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [row[1:3] for row in rows if row[:1] == ["oracle"]] == [
        ["outlines", "4"],
        ["occurrence", "4"],
        ["seeds", "4"],
    ]
    for stem in ("true-seeds", "true-outlines", "true-occurrence"):
        assert read(tmp_path / f"out/submission-{stem}.json")["challenge"]
        assert read(tmp_path / f"out/figures-{stem}.json")["metrics"]["success"] == 100
    with pytest.raises(SystemExit, match="2"):
        run(lambda d: None, "--oracle", "all")


def test_limit_scores_what_was_asked(run, tmp_path, capsys):
    assert run(lambda d: None, "--limit", "1") == 0
    assert "The figures are over 1 of 4 queries; 1 were asked." in capsys.readouterr().out
    assert read(tmp_path / "out/figures.json")["metrics"]["success"] == 100
    for number in ("0", "-1", "few"):
        with pytest.raises(SystemExit, match="2"):
            run(lambda d: None, "--limit", number)


def test_failed_scoring_is_a_failed_run(run, tmp_path, monkeypatch, capsys):
    built = run_vq2d.write_submission

    def invalid(*args):
        return {**built(*args), "challenge": "other"}

    monkeypatch.setattr(run_vq2d, "write_submission", invalid)
    assert run() == 1
    assert "The submission is not valid" in capsys.readouterr().out
    assert len(list((tmp_path / "out/media").glob("*.png"))) == 4, "drawn all the same"


def state(folder):
    """Content and time of every file but the log of events, which holds the time of day."""
    files = (
        path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != "events.jsonl"
    )
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, file_fingerprint(path))
        for path in files
    }


def test_a_finished_run_draws_nothing_and_changes_no_file(run, tmp_path, monkeypatch):
    assert run(videos=True) == 0
    before = state(tmp_path / "out")
    assert len([name for name in before if name.endswith((".mp4", ".jpg", ".png"))]) == 12
    with monkeypatch.context() as patch:
        for name in ("draw_summary", "draw_poster", "draw_video"):
            patch.setattr(pictures, name, None)
        assert run(videos=True) == 0
        assert state(tmp_path / "out") == before


def test_pictures_are_drawn_anew_where_they_would_differ(run, tmp_path, monkeypatch):
    def move(document):
        for box in first_set(document)["response_track"]:
            box["x"] += 1

    media = tmp_path / "out/media"
    assert run() == 0
    before = state(media)
    assert run(move) == 0
    after = state(media)
    changed = {name.split(".")[0] for name in after if after[name] != before[name]}
    assert changed == {"v0-c1-a0-q1"}, "another truth"
    assert run(lambda d: None, "--overwrite") == 0
    redrawn = state(media)
    assert {name: found[1] for name, found in redrawn.items()} == {
        name: found[1] for name, found in after.items()
    }
    assert all(redrawn[name][0] > after[name][0] for name in after)
    monkeypatch.setattr(pictures, "code_digest", lambda module: "edited")
    assert run() == 0
    assert all(found != redrawn[name] for name, found in state(media).items())


def slow_localizer(args):
    """Tiny models that take about as long as the drawing, so that kills hit both."""
    name, localizer = tiny_models(args)
    encoder = localizer.models.encoder
    regions = encoder.regions

    def slowed(images):
        time.sleep(0.04)
        return regions(images)

    encoder.regions = slowed
    return name, localizer


def main_job(folder, root):
    """The whole main job, in a process of its own; the command line is the same everywhere."""
    torch.set_num_threads(1)
    folder.mkdir(exist_ok=True)
    os.chdir(folder)
    run_vq2d.chosen_localizer = slow_localizer
    folders = ["--data", str(root), "--out", "out", "--cache", "cache"]
    raise SystemExit(run_vq2d.main(folders))


def contents(folder):
    """Every file, hidden ones too; of pictures their content says all."""
    return {name: found[1] for name, found in state(folder).items()}


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL")
@pytest.mark.parametrize("most", [6, pytest.param(20, marks=pytest.mark.slow)])
def test_killed_again_and_again_and_restarted_every_file_is_the_same(clips, tmp_path, most):
    root = tmp_path / "ego"
    write_root(root, clips, lambda d: second_clip(d).update(clip_uid="absent"))
    # children of a server that never computed: torch's threads do not survive a fork
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload([__name__])

    idle = server.Process(target=os.getpid)
    idle.start()
    idle.join()  # the server's imports are not to be timed

    def started(name):
        child = server.Process(target=main_job, args=(tmp_path / name, root))
        child.start()
        return child

    before = time.perf_counter()
    whole = started("whole")
    whole.join()
    seconds = time.perf_counter() - before
    assert whole.exitcode == 1  # one clip is absent
    expected = contents(tmp_path / "whole")
    assert len([name for name in expected if name.endswith(".mp4")]) == 2

    rng = random.Random(0)
    kills, completed = 0, 0
    while kills < most or not completed:
        name = str(completed)  # a complete run is compared; then all starts anew
        child = started(name)
        child.join(rng.uniform(0.0, 0.3) * seconds if kills < most else None)
        killed = child.is_alive()
        if killed:
            os.kill(child.pid, signal.SIGKILL)
            kills += 1
        child.join()
        if not killed:
            assert child.exitcode == 1
            assert contents(tmp_path / name) == expected
            completed += 1


def test_the_data_are_found_in_any_version_of_the_layout(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run_vq2d.find_data(None) == SAMPLE
    assert "this run uses the embedded sample" in capsys.readouterr().out
    write_root(tmp_path / "kept", tmp_path, lambda document: None)
    for folder in ("v1", "."):
        (tmp_path / "data/ego4d" / folder).mkdir(parents=True, exist_ok=True)
        annotations = next(tmp_path.rglob("annotations"))
        annotations.rename(tmp_path / "data/ego4d" / folder / "annotations")
        assert run_vq2d.find_data(None) == Path("data/ego4d")
        assert annotations_of(Path("data/ego4d"), "val").query_sets
    assert "sample" not in capsys.readouterr().out


def test_the_reader_is_a_choice_and_no_part_of_what_is_found(run, tmp_path, capsys):
    pytest.importorskip("decord")
    assert run() == 0
    found = (tmp_path / "out/submission.json").read_bytes()
    capsys.readouterr()
    assert run(lambda d: None, "--reader", "decord", "--overwrite") == 0
    assert " 0 images encoded" not in capsys.readouterr().out
    assert (tmp_path / "out/submission.json").read_bytes() == found
