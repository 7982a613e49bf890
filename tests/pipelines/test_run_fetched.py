"""A split larger than the disk: shard by shard, with a folder in the place of Ego4D's bucket."""

from __future__ import annotations

import itertools
import json
import shutil

import pytest

from pipelines import run_fetched
from ren_core.errors import DataError
from tests.clips import FRAMES, RED, clip_json, frame, query_set, write_annotations
from tests.job import run as run_whole
from tests.job import tiny_localizer
from tests.synthetic import write_video
from vq2d.commands import run as run_vq2d
from vq2d.ego4d import fetch

CLIPS = 2


@pytest.fixture(scope="module")
def bucket(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bucket")
    for n in range(CLIPS):
        images = [frame(i, 90 + 5 * n) for i in range(FRAMES)]
        write_video(folder / f"clip{n}.mp4", images)
    return folder


@pytest.fixture
def root(tmp_path):
    queries = {"1": query_set(RED, 4, 28, (15, 21))}
    write_annotations(tmp_path / "ego", [clip_json(f"clip{i}", queries) for i in range(CLIPS)])
    (tmp_path / "ego/v2/clips").mkdir()
    return tmp_path / "ego"


@pytest.fixture
def fetched(bucket, root, monkeypatch):
    """What was fetched, call by call; never more than one clip lies on the disk."""
    calls = []

    def copy(to, uids):
        assert list((root / "v2/clips").iterdir()) == []
        calls.append(list(uids))
        for uid in uids:
            shutil.copy(bucket / f"{uid}.mp4", to / "v2/clips")

    monkeypatch.setattr(run_fetched, "fetch_clips", copy)
    monkeypatch.setattr(run_vq2d, "chosen_localizer", lambda _: ("tiny", tiny_localizer()))
    return calls


def command(root, tmp_path, *options):
    folders = map(str, ["--data", root, "--out", tmp_path / "out"])
    of_run = ["--cache", str(tmp_path / "cache"), "--no-videos"]
    return run_fetched.main([*folders, *options, "--", *of_run])


ONE_AT_A_TIME = ("--budget-gb", "0.001", "--gb-per-clip", "0.001")


def test_shards_make_the_same_as_all_clips_at_once(root, bucket, fetched, tmp_path):
    assert command(root, tmp_path, *ONE_AT_A_TIME) == 0
    assert sorted(itertools.chain(*fetched)) == [f"clip{n}" for n in range(CLIPS)]
    assert len(fetched) == CLIPS
    assert list((root / "v2/clips").iterdir()) == []

    assert command(root, tmp_path, *ONE_AT_A_TIME) == 0  # nothing is left to do
    assert len(fetched) == CLIPS
    shutil.copytree(bucket, root / "v2/clips", dirs_exist_ok=True)
    run_whole(root, tmp_path / "cache", tmp_path / "whole")
    expected = (tmp_path / "whole/submission.json").read_bytes()
    assert (tmp_path / "out/submission.json").read_bytes() == expected


def test_a_shard_that_failed_is_done_again(root, fetched, tmp_path, monkeypatch):
    copy = run_fetched.fetch_clips

    def lose(to, uids):
        copy(to, uids)
        (to / "v2/clips/clip1.mp4").unlink(missing_ok=True)

    monkeypatch.setattr(run_fetched, "fetch_clips", lose)
    assert command(root, tmp_path, *ONE_AT_A_TIME) == 1
    monkeypatch.setattr(run_fetched, "fetch_clips", copy)
    fetched.clear()
    assert command(root, tmp_path, *ONE_AT_A_TIME) == 0
    assert fetched == [["clip1"]]


def test_a_shard_larger_than_the_budget_stops(root, fetched, tmp_path, capsys):
    assert command(root, tmp_path, "--budget-gb", "1e-6", "--gb-per-clip", "1e-7") == 1
    assert "more than --budget-gb 1e-06; give --gb-per-clip" in capsys.readouterr().err
    assert list((root / "v2/clips").iterdir()) == []


def test_a_clip_that_is_there_is_not_deleted(root, bucket, fetched, tmp_path, monkeypatch):
    def copy(to, uids):
        for uid in uids:
            shutil.copy(bucket / f"{uid}.mp4", to / "v2/clips")

    monkeypatch.setattr(run_fetched, "fetch_clips", copy)
    shutil.copy(bucket / "clip1.mp4", root / "v2/clips")
    assert command(root, tmp_path, *ONE_AT_A_TIME) == 0
    assert [path.name for path in (root / "v2/clips").iterdir()] == ["clip1.mp4"]


def test_the_cli_is_called_with_the_uids_and_its_failure_is_said(tmp_path, monkeypatch):
    cli = tmp_path / "ego4d"
    cli.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/words\ncat "$7" > {tmp_path}/uids\nexit 3\n')
    cli.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(DataError, match="failed with code 3; its last lines say why"):
        fetch.fetch_clips(tmp_path / "ego", ["a", "b"])
    assert (tmp_path / "uids").read_text() == "a\nb\n"
    words = (tmp_path / "words").read_text()
    assert words.startswith(f"--output_directory={tmp_path}/ego --datasets clips --version v2 ")


def test_of_the_test_split_there_is_a_submission_without_figures(root, fetched, tmp_path):
    path = root / "v2/annotations/vq_val.json"
    document = json.loads(path.read_text())
    for clip in document["videos"][0]["clips"]:
        for query in clip["annotations"][0]["query_sets"].values():
            del query["response_track"]
    path.with_name("vq_test_unannotated.json").write_text(json.dumps(document))
    path.unlink()
    assert command(root, tmp_path, "--split", "test", *ONE_AT_A_TIME) == 0
    submission = json.loads((tmp_path / "out/submission.json").read_text())
    clips = submission["results"]["videos"][0]["clips"]
    assert all(clip["predictions"][0]["query_sets"]["1"]["bboxes"] for clip in clips)
