"""What a memory is measured by, and the directions that it keeps; models are tiny."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipelines import fit_projection, run_memory
from ren_core.engine.choice import Compute
from tests.clips import FRAMES, RED, clip_json, frame, query_set, write_annotations
from tests.job import CONFIG, tiny_localizer
from tests.synthetic import write_video
from vq2d.localize.projection import load_projection

SEARCH = replace(CONFIG, search=replace(CONFIG.search, keep_ratio=0.85))


@pytest.fixture
def tiny(monkeypatch):
    for command in (fit_projection, run_memory):
        monkeypatch.setattr(command, "chosen_config", lambda _: ("tiny", SEARCH, Compute()))
        monkeypatch.setattr(command, "build_localizer", lambda config, _: tiny_localizer(config))


def test_queries_are_asked_of_their_clip_and_of_all(tiny, tmp_path, capsys):
    """Both clips show the thing at the same frames: the later one's answer lies in itself."""
    root = tmp_path / "sets/holdout"
    root.mkdir(parents=True)
    asked = {"1": query_set(RED, 4, 28, (15, 21))}
    write_annotations(root, [clip_json(uid, asked) for uid in ("one", "two")])
    (root / "v2/clips").mkdir()
    for uid, shade in (("one", 90), ("two", 110)):
        write_video(root / f"v2/clips/{uid}.mp4", [frame(i, shade) for i in range(FRAMES)])
    out = tmp_path / "out"
    options = ["--sets", "holdout", "--roots", str(tmp_path / "sets"), "--out", str(out)]
    assert run_memory.main(options) == 0
    found = json.loads((out / "memory.json").read_text())
    assert found["success in clip"] == found["success in memory"] == 100
    assert found["first answer elsewhere"] == 0
    assert found["queries"] == 2
    assert all(row["in_clip"] > 0.8 for row in found["rows"])
    assert found["bytes"] > 0
    assert "2 videos, 0.00 h" in capsys.readouterr().out


def test_a_set_that_is_not_there_is_one_sentence(tiny, tmp_path, capsys):
    options = ["--sets", "holdout", "--roots", str(tmp_path), "--out", str(tmp_path / "out")]
    assert run_memory.main(options) == 1
    assert "`make sets` makes it" in capsys.readouterr().err


def test_directions_are_fitted_to_the_vectors_of_videos(tiny, tmp_path, capsys):
    video = write_video(tmp_path / "kitchen.mp4", [frame(i) for i in range(16)])
    out = tmp_path / "p.safetensors"
    places = ["--out", str(out), "--cache", str(tmp_path / "cache")]
    assert fit_projection.main([str(video), "--dims", "4", *places]) == 0
    assert "4 of 16 directions hold" in capsys.readouterr().out
    basis = load_projection(out).basis
    assert basis.shape == (16, 4)
    assert np.allclose(basis.T @ basis, np.eye(4), atol=0.01)
    assert fit_projection.main([str(video), "--dims", "17", *places]) == 2
    assert "cannot be reduced to 17" in capsys.readouterr().err
    assert Path(out).exists()
