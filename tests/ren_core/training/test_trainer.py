"""What one step and one validation do, on cached views and on random batches."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from ren_core.schedule import learning_rate_factor
from ren_core.training.config import LossConfig
from ren_core.training.trainer import _Run, train, validate
from tests.training_cases import CONFIG, CPU, Repeated, new_objective, weights_of
from tests.training_processes import STEADY, RandomBatches


def _least_info_nce(region_ids):
    """Mean of log k: the shares of k positives add up to 1 at most, so that 1 / k each is best."""
    ids = region_ids[region_ids >= 0]
    positives = (ids[:, None] == ids[None, :]).sum(dim=1) - 1
    return float(positives[positives > 0].double().log().mean())


def test_five_pictures_are_learned_by_heart(batches, tmp_path):
    config = replace(
        CONFIG,
        steps=350,
        warmup=10,
        learning_rate=1e-2,
        dropout=0.0,
        num_heads=4,
        validate_every=350,
        checkpoint_every=350,
    )
    batch = replace(batches[0], pairs=5).batch(0)
    objective = new_objective(config)
    before = validate(objective, [batch], config)
    rows = train(objective, Repeated(batch), [batch], config, out=tmp_path / "run", worker=CPU)
    after = validate(objective, [batch], config)
    bound = _least_info_nce(batch.region_ids)
    assert after["contrast"] - bound < 0.15 < 3 < before["contrast"] - bound
    assert after["feature"] < 0.03 < 0.3 < before["feature"]
    assert after["accuracy"] > 0.95 > 0.5 > before["accuracy"]
    assert after["total"] == pytest.approx(rows[-1]["val/total"])
    assert objective.training


def test_the_last_step_changes_nothing(batches, tmp_path):
    objective = new_objective()
    train(objective, *batches[:1], [], CONFIG, out=tmp_path, worker=CPU, stop_after=5)
    before = weights_of(objective)
    train(objective, *batches[:1], [], CONFIG, out=tmp_path, worker=CPU)
    assert all(torch.equal(before[k], v) for k, v in objective.state_dict().items())


def test_accumulation_takes_further_batches(batches, tmp_path):
    numbers = []

    class Spy:
        def batch(self, number):
            numbers.append(number)
            return batches[0].batch(number)

    config = replace(CONFIG, accumulation=2, steps=3, warmup=1, dropout=0.0)
    train(new_objective(config), Spy(), [], config, out=tmp_path / "a", worker=CPU)
    assert numbers == [0, 1, 2, 3, 4, 5]


def test_gradients_are_clipped_to_the_given_norm(batches, tmp_path):
    tight = replace(CONFIG, max_grad_norm=1e-9, weight_decay=0.0)
    objective = new_objective(tight)
    before = weights_of(objective)
    train(objective, batches[0], [], tight, out=tmp_path, worker=CPU, stop_after=1)
    moved = max(float((v - before[k]).abs().max()) for k, v in objective.state_dict().items())
    assert moved < 0.4 * CONFIG.learning_rate  # AdamW's epsilon is felt: 1e-8 against 1e-9


def test_bf16_trains_close_to_fp32(batches, tmp_path):
    results = {}
    for precision in ("fp32", "bf16"):
        config = replace(CONFIG, precision=precision, dropout=0.0)
        objective = new_objective(config)
        rows = train(
            objective,
            batches[0],
            [batches[1].batch(0)],
            config,
            out=tmp_path / precision,
            worker=CPU,
        )
        results[precision] = rows[-1]["val/total"]
        assert all(p.dtype == torch.float32 for p in objective.parameters())
    assert results["bf16"] != results["fp32"]
    assert results["bf16"] == pytest.approx(results["fp32"], rel=0.05)


def test_only_the_head_learns_and_not_its_unused_projection(batches, tmp_path):
    objective = new_objective()
    before = weights_of(objective)
    train(objective, batches[0], [], CONFIG, out=tmp_path, worker=CPU)
    changed = {k for k, v in objective.state_dict().items() if not torch.equal(before[k], v)}
    unused = {k for k in before if "layers.1.cross_attn.v_proj" in k}
    assert set(before) - changed == unused


def test_attention_supervision_moves_attention_into_the_regions(batches, tmp_path):
    loss = LossConfig(contrast=0, feature=0, attention=1)
    config = replace(CONFIG, steps=60, learning_rate=1e-2, dropout=0.0, loss=loss)
    objective = new_objective(config)
    batch = batches[0].batch(0)
    before = validate(objective, [batch], config)["attention"]
    train(objective, Repeated(batch), [], config, out=tmp_path, worker=CPU)
    assert validate(objective, [batch], config)["attention"] < 0.8 * before


def test_accumulated_gradients_are_the_mean_over_the_batches():
    config = replace(STEADY, accumulation=2)
    stepped, fresh = new_objective(config), new_objective(config)
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
    config = replace(STEADY, precision="fp16", max_grad_norm=1e-2)
    run = _Run(new_objective(config), RandomBatches(), config, CPU)
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
    config = replace(STEADY, learning_rate=0.02)
    run = _Run(new_objective(config), RandomBatches(), config, CPU)
    for step in range(config.steps):
        run.step(step)
        factor = learning_rate_factor(step, config.warmup, config.steps)
        assert run.optimiser.param_groups[0]["lr"] == 0.02 * factor


def test_validation_knows_no_dropout():
    config = replace(STEADY, dropout=0.5)
    objective, batch = new_objective(config).train(), RandomBatches().batch(0)
    first = validate(objective, [batch], config)
    assert objective.training
    assert validate(objective, [batch], config) == first
    assert float(objective(batch)["total"].detach()) != float(objective(batch)["total"].detach())
