"""What one step, one validation and one checkpoint do, on random batches."""

import importlib.util
import sys
import types
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from ren_core.errors import StaleStageError
from ren_core.sam2.masks import Sam2MaskConfig
from ren_core.schedule import learning_rate_factor
from ren_core.training import curves
from ren_core.training.config import LossConfig
from ren_core.training.learned_queries import build_objective
from ren_core.training.pairs import PairRules
from ren_core.training.start import build_head
from ren_core.training.trainer import Worker, _Run, train, validate
from tests.tiny import SPEC
from tests.training_processes import CONFIG as BASE
from tests.training_processes import GRID, RandomBatches

CPU = Worker(torch.device("cpu"))
CONFIG = replace(BASE, dropout=0.0, max_grad_norm=1e9)


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def _objective(config):
    return build_objective(build_head(SPEC.dim, GRID, config), config)


def _train(config, out, batches=None, **options):
    objective = _objective(config)
    train(objective, batches or RandomBatches(), [], config, out=out, worker=CPU, **options)
    return objective


def test_accumulated_gradients_are_the_mean_over_the_batches():
    config = replace(CONFIG, accumulation=2)
    stepped, fresh = _objective(config), _objective(config)
    losses = _Run(stepped, RandomBatches(), config, CPU).step(0)
    totals = [fresh(RandomBatches().batch(number))["total"] for number in (0, 1)]
    (sum(totals) / 2).backward()
    for (name, a), b in zip(stepped.named_parameters(), fresh.parameters(), strict=True):
        assert (a.grad is None) == (b.grad is None), name
        assert a.grad is None or torch.allclose(a.grad, b.grad, rtol=1e-4, atol=1e-6), name
    assert losses["total"] == pytest.approx(float(sum(totals).detach()) / 2)
    length = torch.stack([p.grad.norm() for p in fresh.parameters() if p.grad is not None]).norm()
    assert losses["gradient"] == pytest.approx(float(length), rel=1e-3)


def test_scaled_gradients_are_clipped_after_unscaling():
    config = replace(CONFIG, precision="fp16", max_grad_norm=1e-2)
    run = _Run(_objective(config), RandomBatches(), config, CPU)
    assert run.scaler.is_enabled()
    lengths = []

    def measure(*_):
        gradients = [p.grad for p in run.parameters if p.grad is not None]
        lengths.append(float(torch.stack([g.norm() for g in gradients]).norm()))

    run.optimiser.register_step_pre_hook(measure)
    for step in range(config.steps):
        run.step(step)
    assert lengths  # steps with an overflow are left out
    assert lengths == pytest.approx([1e-2] * len(lengths), rel=1e-2)
    assert run.scaler.get_scale() > 100


def test_every_step_has_the_learning_rate_of_the_schedule():
    config = replace(CONFIG, learning_rate=0.02)
    run = _Run(_objective(config), RandomBatches(), config, CPU)
    for step in range(config.steps):
        run.step(step)
        factor = learning_rate_factor(step, config.warmup, config.steps)
        assert run.optimiser.param_groups[0]["lr"] == 0.02 * factor


def test_validation_knows_no_dropout():
    config = replace(CONFIG, dropout=0.5)
    objective, batch = _objective(config).train(), RandomBatches().batch(0)
    first = validate(objective, [batch], config)
    assert objective.training
    assert validate(objective, [batch], config) == first
    assert float(objective(batch)["total"].detach()) != float(objective(batch)["total"].detach())


@pytest.mark.parametrize("queries", ["points", "learned"])
@pytest.mark.parametrize(
    "weights",
    [
        {},
        {"feature": 0},
        {"contrast": 0},
        {"contrast": 0, "feature": 0, "relation": 1},
        {"contrast": 0, "feature": 0, "attention": 1},
        {"feature": 0, "attention": 1},
    ],
)
def test_exactly_what_the_losses_reach_asks_for_gradients(queries, weights):
    config = replace(CONFIG, queries=queries, loss=LossConfig(**weights))
    objective = _objective(config)
    asking = {name for name, p in objective.named_parameters() if p.requires_grad}
    objective.requires_grad_(True)
    objective(RandomBatches().batch(0))["total"].backward()
    assert asking == {name for name, p in objective.named_parameters() if p.grad is not None}


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
    config = replace(CONFIG, validate_every=1, checkpoint_every=2)
    with pytest.raises(KilledError):
        _train(config, tmp_path, KilledAt(3))
    assert len((tmp_path / "curves.csv").read_text().splitlines()) == 1 + 2
    assert cv2.imread(str(tmp_path / "curves.png")) is not None
    (tmp_path / "curves.png").unlink()
    _train(config, tmp_path, stop_after=2)  # no step to do
    assert (tmp_path / "curves.png").exists()


def test_another_run_does_not_go_on_with_a_checkpoint(tmp_path):
    data = {"sources": {"yolo": {"cross_frame": True}}, "pictures": "abc"}
    _train(CONFIG, tmp_path, identity=data, stop_after=1)
    _train(CONFIG, tmp_path, identity=data, stop_after=2)
    other = {"sources": {"yolo": {"cross_frame": False}}, "pictures": "abc", "views": ["v"]}
    with pytest.raises(StaleStageError) as error:
        _train(CONFIG, tmp_path, identity=other)
    assert "sources.yolo.cross_frame was True, is False" in str(error.value)
    assert "views was missing, is ['v']" in str(error.value)
    assert "remove it to start anew or choose another --out" in str(error.value)
    changed = replace(CONFIG, seed=1, dropout=0.1, weight_decay=0.0, loss=LossConfig(relation=1))
    with pytest.raises(StaleStageError, match=r"train\.weight_decay was 0\.01, is 0\.0,.* 1 more"):
        _train(changed, tmp_path, identity=data)


def test_a_checkpoint_that_does_not_say_what_made_it_is_stale(tmp_path):
    _train(CONFIG, tmp_path, stop_after=1)
    path = tmp_path / "checkpoint.pt"
    content = torch.load(path, weights_only=True)
    del content["identity"]
    torch.save(content, path)
    with pytest.raises(StaleStageError, match="train was missing"):
        _train(CONFIG, tmp_path)


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
    config = replace(CONFIG, validate_every=1, checkpoint_every=2)
    with pytest.raises(KilledError):
        _train(config, tmp_path, KilledAt(3))
    assert {step for _, _, step in scalars} == {1, 2}
    assert {name for name, _, _ in scalars} >= {"train/contrast", "train/feature", "train/gradient"}


def test_without_tensorboard_nothing_is_written(monkeypatch, tmp_path):
    _installed(monkeypatch, tensorboard=False)
    assert not curves.write_tensorboard(tmp_path / "tb", [{"step": 1.0}])
    assert not (tmp_path / "tb").exists()


def test_frames_of_a_pair_are_at_most_the_gap_apart():
    rules, rng = PairRules(max_gap=2), np.random.default_rng(0)
    pairs = {rules.draw(range(100, 110), rng) for _ in range(400)}
    assert {abs(a - b) for a, b in pairs} == {1, 2}
    assert {a for a, _ in pairs} == set(range(100, 110))


def test_sam2_masks_are_made_as_for_the_paper():
    assert Sam2MaskConfig() == Sam2MaskConfig(
        points_per_side=32,
        points_per_batch=64,
        pred_iou_thresh=0.8,
        stability_score_thresh=0.9,
        box_nms_thresh=0.7,
        min_mask_region_area=0,
    )
