"""Photographs of things that no clip shows, asked of clips in turn."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from pipelines import run_photographs
from tests.job import CONFIG, tiny_localizer
from tests.pipelines.test_run_figures import write_set


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """The command with tiny models on one set of three clips; its folder, and what it asks."""
    calls = []
    find = run_photographs.found_for
    monkeypatch.setattr(
        run_photographs, "chosen_localizer", lambda args: ("tiny", tiny_localizer(CONFIG))
    )
    monkeypatch.setattr(
        run_photographs, "found_for", lambda *args: calls.append(args[1]) or find(*args)
    )
    write_set(tmp_path / "sets/made_dev")
    folder = tmp_path / "pictures/fruit"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i in range(5):
        noise = rng.integers(0, 255, (40, 30, 3), np.uint8)
        Image.fromarray(noise).save(folder / f"{i}.png")

    def run(pictures="pictures"):
        return run_photographs.main(
            [
                *("--pictures", str(tmp_path / pictures), "--sets", "made_dev"),
                *("--roots", str(tmp_path / "sets"), "--cache", str(tmp_path / "cache")),
                *("--out", str(tmp_path / "out")),
            ]
        )

    return tmp_path, run, calls


def test_every_photograph_is_asked_of_one_clip_of_all_its_frames(asked, capsys):
    folder, run, calls = asked
    assert run() == 0
    rows = json.loads((folder / "out/absent.json").read_text())
    assert sorted(row["query"][-5:] for row in rows) == [f"{i}.png" for i in range(5)]
    clips = [row["clip_uid"] for row in sorted(rows, key=lambda row: row["query"])]
    assert clips == ["one", "two", "blank", "one", "two"]
    assert {row["kind"] for row in rows} == {"other"}
    assert all(question.crop_frame is None for question in calls)
    assert "of 5 photographs of other things" in capsys.readouterr().out
    present = json.loads((folder / "out/present.json").read_text())
    assert {row["kind"] for row in present} == {"present"}


def test_nothing_is_asked_twice(asked, capsys):
    _, run, calls = asked
    assert run() == 0
    first = capsys.readouterr().out
    assert run() == 0
    assert len(calls) == 5
    assert capsys.readouterr().out.splitlines()[-6:] == first.splitlines()[-6:]


def test_a_folder_without_pictures_is_said(asked, capsys):
    folder, run, _ = asked
    (folder / "empty").mkdir()
    assert run("empty") == 2
    assert "no pictures" in capsys.readouterr().err
