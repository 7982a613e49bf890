"""A killed run goes on to the same weights, and no other run goes on with its checkpoint."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from ren_core.errors import StaleStageError
from ren_core.training.config import LossConfig
from ren_core.training.trainer import train
from tests.training_cases import CONFIG, CPU, new_objective
from tests.training_processes import STEADY, train_one


@pytest.mark.parametrize("kill_at", [2, 3, 5])
def test_a_killed_run_goes_on_to_the_same_weights(batches, tmp_path, kill_at):
    training, validation = batches
    fixed = [validation.batch(0)]
    whole = new_objective()
    rows = train(whole, training, fixed, CONFIG, out=tmp_path / "whole", worker=CPU)

    first = new_objective()
    out = tmp_path / "cut"
    train(first, training, fixed, CONFIG, out=out, worker=CPU, stop_after=kill_at)
    torch.rand(7)  # what happened in between does not matter
    second = new_objective(replace(CONFIG, seed=9))  # its weights are replaced
    went_on = train(second, training, fixed, CONFIG, out=out, worker=CPU)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(second.state_dict()[name], tensor), name
    for row, other in zip(rows, went_on, strict=True):
        assert row.keys() == other.keys() > {"train/total", "train/gradient", "val/total"}
        assert all(row[name] == other[name] for name in row.keys() - {"seconds"})
    with pytest.raises(StaleStageError, match=r"train\.seed was 42, is 5"):
        train(second, training, fixed, replace(CONFIG, seed=5), out=out, worker=CPU)


def test_another_run_does_not_go_on_with_a_checkpoint(tmp_path):
    data = {"sources": {"yolo": {"cross_frame": True}}, "pictures": "abc"}
    train_one(STEADY, tmp_path, CPU, identity=data, stop_after=1)
    train_one(STEADY, tmp_path, CPU, identity=data, stop_after=2)
    other = {"sources": {"yolo": {"cross_frame": False}}, "pictures": "abc", "views": ["v"]}
    with pytest.raises(StaleStageError) as error:
        train_one(STEADY, tmp_path, CPU, identity=other)
    assert "sources.yolo.cross_frame was True, is False" in str(error.value)
    assert "views was missing, is ['v']" in str(error.value)
    assert "remove it to start anew or choose another --out" in str(error.value)
    changed = replace(STEADY, seed=1, dropout=0.1, weight_decay=0.0, loss=LossConfig(relation=1))
    with pytest.raises(StaleStageError, match=r"train\.weight_decay was 0\.01, is 0\.0,.* 1 more"):
        train_one(changed, tmp_path, CPU, identity=data)


def test_a_checkpoint_that_does_not_say_what_made_it_is_stale(tmp_path):
    train_one(STEADY, tmp_path, CPU, stop_after=1)
    path = tmp_path / "checkpoint.pt"
    content = torch.load(path, weights_only=True)
    del content["identity"]
    torch.save(content, path)
    with pytest.raises(StaleStageError, match="train was missing"):
        train_one(STEADY, tmp_path, CPU)
