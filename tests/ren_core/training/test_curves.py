"""Curves as CSV, picture and TensorBoard, also of a run that is killed."""

from __future__ import annotations

import csv
import importlib.util
import sys
import types
from dataclasses import replace
from pathlib import Path

import cv2
import pytest

from ren_core.training import curves
from ren_core.training.curves import plot_curves, write_csv
from ren_core.training.trainer import train
from tests.training_cases import CONFIG, CPU, new_objective
from tests.training_processes import STEADY, RandomBatches, train_one


class KilledError(Exception):
    """The machine was needed."""


class KilledAt:
    """Random batches up to a number."""

    def __init__(self, number):
        self.number = number

    def batch(self, number):
        if number == self.number:
            raise KilledError
        return RandomBatches().batch(number)


def test_a_killed_run_leaves_its_curves(tmp_path):
    config = replace(STEADY, validate_every=1, checkpoint_every=2)
    with pytest.raises(KilledError):
        train_one(config, tmp_path, CPU, batches=KilledAt(3))
    assert len((tmp_path / "curves.csv").read_text().splitlines()) == 1 + 2
    assert cv2.imread(str(tmp_path / "curves.png")) is not None
    (tmp_path / "curves.png").unlink()
    train_one(config, tmp_path, CPU, stop_after=2)  # no step to do
    assert (tmp_path / "curves.png").exists()


def test_curves_are_written(batches, tmp_path):
    train(new_objective(), batches[0], [batches[1].batch(0)], CONFIG, out=tmp_path, worker=CPU)
    with (tmp_path / "curves.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["step"]) for row in rows] == [3, 6]
    assert float(rows[0]["train/total"]) == pytest.approx(
        float(rows[0]["train/contrast"]) + float(rows[0]["train/feature"]), rel=1e-5
    )
    assert cv2.imread(str(tmp_path / "curves.png")) is not None


def test_curve_files_by_themselves(tmp_path):
    rows = [{"step": 1.0, "train/a": 2.0}, {"step": 2.0, "train/a": 1.0, "val/a": 3.0}]
    write_csv(tmp_path / "c.csv", rows)
    assert (tmp_path / "c.csv").read_text().splitlines() == [
        "step,train/a,val/a",
        "1.0,2.0,",
        "2.0,1.0,3.0",
    ]
    plot_curves(tmp_path / "c.png", rows)
    assert cv2.imread(str(tmp_path / "c.png")).shape[2] == 3


@pytest.fixture
def scalars(monkeypatch):
    """What is written through a TensorBoard that stands in for the real one."""
    written = []

    class SummaryWriter:
        made = 0

        def __init__(self, directory):
            SummaryWriter.made += 1
            self.file = Path(directory) / f"events.out.tfevents.{SummaryWriter.made}"
            self.file.parent.mkdir(parents=True, exist_ok=True)
            written.clear()

        def __enter__(self):
            return self

        def add_scalar(self, name, value, step):
            written.append((name, value, step))

        def __exit__(self, *error):
            self.file.write_text("events")

    stand_in = types.ModuleType("torch.utils.tensorboard")
    stand_in.SummaryWriter = SummaryWriter
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", stand_in)
    _installed(monkeypatch, tensorboard=True)
    return written


def _installed(monkeypatch, *, tensorboard):
    real = importlib.util.find_spec

    def find_spec(name, package=None):
        if name == "tensorboard":
            return types.SimpleNamespace() if tensorboard else None
        return real(name, package)

    monkeypatch.setattr(curves.importlib.util, "find_spec", find_spec)


def test_tensorboard_shows_every_row_once(scalars, tmp_path):
    rows = [{"step": 1.0, "train/a": 2.0}, {"step": 2.0, "train/a": 1.0, "val/a": 3.0}]
    assert curves.write_tensorboard(tmp_path / "tb", rows[:1])
    assert curves.write_tensorboard(tmp_path / "tb", rows)
    assert scalars == [
        ("step", 1.0, 1),
        ("train/a", 2.0, 1),
        ("step", 2.0, 2),
        ("train/a", 1.0, 2),
        ("val/a", 3.0, 2),
    ]
    assert [file.name for file in (tmp_path / "tb").iterdir()] == ["events.out.tfevents.2"]


def test_training_writes_to_tensorboard_at_checkpoints(scalars, tmp_path):
    config = replace(STEADY, validate_every=1, checkpoint_every=2)
    with pytest.raises(KilledError):
        train_one(config, tmp_path, CPU, batches=KilledAt(3))
    assert {step for _, _, step in scalars} == {1, 2}
    assert {name for name, _, _ in scalars} >= {"train/contrast", "train/feature", "train/gradient"}


def test_without_tensorboard_nothing_is_written(monkeypatch, tmp_path):
    _installed(monkeypatch, tensorboard=False)
    assert not curves.write_tensorboard(tmp_path / "tb", [{"step": 1.0}])
    assert not (tmp_path / "tb").exists()
