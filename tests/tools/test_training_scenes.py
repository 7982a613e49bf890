"""Rooms for training hold nothing of anybody else, and no thing of a set that is measured."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np

from tools.tours import make_training_scenes
from tools.tours.home import HOME
from tools.tours.make_training_scenes import FIRST_THING, room_made_here
from tools.tours.objects import PRIMITIVES
from tools.tours.things import Thing

SETS = Path(__file__).resolve().parents[2] / "tools/tours/sets"


def things_of(seed):
    spec = room_made_here(seed, np.random.default_rng([seed, 4]))
    assert spec.room == HOME
    found = [item.asset for item in spec.objects]
    assert all(isinstance(asset, Thing) or asset in PRIMITIVES for asset in found)
    return [asset for asset in found if isinstance(asset, Thing)]


def test_a_room_made_here_has_things_and_twins_of_its_own():
    first, again, other = things_of(5000), things_of(5000), things_of(5001)
    assert first == again
    assert not {t.family for t in first} & {t.family for t in other}
    assert any(a.is_twin(b) for a in first for b in first)


def test_no_thing_of_a_set_is_trained_on():
    rows = [row for file in SETS.glob("*.json") for row in json.loads(file.read_text())]
    seeds = [thing["seed"] for row in rows for thing in row.get("things", ())]
    assert seeds
    assert max(seeds) < FIRST_THING <= min(thing.seed for thing in things_of(0))


def test_a_scene_is_rendered_once_and_never_taken_for_one_of_other_settings(
    tmp_path, monkeypatch, capsys
):
    rendered = []

    def render(seed, out, config):
        rendered.append(seed)
        out.mkdir(parents=True)
        (out / "truth.json").write_text(json.dumps({"settings": asdict(config)}))

    monkeypatch.setattr(make_training_scenes, "render_scene", render)
    asked = ["--out", str(tmp_path), "--first-seed", "7", "--made"]
    assert make_training_scenes.main([*asked, "--scenes", "1"]) == 0
    assert make_training_scenes.main([*asked, "--scenes", "3"]) == 0
    assert rendered == [7, 8, 9]
    assert make_training_scenes.main([*asked, "--scenes", "5", "--frames", "8"]) == 2
    assert rendered == [7, 8, 9]
    assert "give another --out" in capsys.readouterr().err
