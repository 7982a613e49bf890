"""The ablation without point prompts: queries are matched to regions, and learn."""

from __future__ import annotations

from dataclasses import replace

import torch

from ren_core.training.learned_queries import LearnedQueryObjective
from ren_core.training.trainer import train, validate
from tests.training_cases import CONFIG, CPU, DIM, Repeated, new_objective


def test_learned_queries_are_matched_to_regions_and_learn(batches, tmp_path):
    config = replace(CONFIG, queries="learned", steps=40, learning_rate=3e-3, dropout=0.0)
    objective = new_objective(config)
    assert isinstance(objective, LearnedQueryObjective)
    batch = batches[0].batch(0)
    _, tokens, matched = objective._matched(batch)
    assert tokens.shape == (4, 24, DIM)
    for view in range(4):
        ids = matched.region_ids[view]
        assert sorted(ids[ids >= 0].tolist()) == sorted(
            set(batch.region_ids[view][batch.region_ids[view] >= 0].tolist())
        )
        query = int((ids >= 0).nonzero()[0])
        prompt = int((batch.region_ids[view] == ids[query]).nonzero()[0])
        assert torch.equal(matched.targets[view, query], batch.targets[view, prompt])
    before = validate(objective, [batch], config)["feature"]
    train(objective, Repeated(batch), [], config, out=tmp_path, worker=CPU)
    assert validate(objective, [batch], config)["feature"] < before - 0.1
