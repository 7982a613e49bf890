"""The head, its loss, and its training step by step."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from eval.segmentation.config import HEAD_PRESETS, HeadConfig
from eval.segmentation.confusion import VOID
from eval.segmentation.head import SegmentationHead, pixel_loss, train_heads
from tests.segmentation_sets import QUICK


def test_pixel_loss_by_hand():
    scores = torch.zeros(1, 3, 2, 2)
    labels = torch.zeros(1, 4, 4, dtype=torch.uint8)
    assert float(pixel_loss(scores, labels)) == pytest.approx(math.log(3))
    labels[0, 0] = VOID
    scores[0, 0] = 2.0
    one = math.log(math.exp(2) + 2) - 2
    assert float(pixel_loss(scores, labels)) == pytest.approx(one, rel=1e-5)
    labels[0, 1] = 1  # with a stride of 2 rows and columns 1 and 3 are seen
    assert float(pixel_loss(scores, labels, 2)) == pytest.approx(one + 1, rel=1e-5)
    assert float(pixel_loss(scores, torch.full_like(labels, VOID))) == 0


def rates_of_every_step(monkeypatch, config, total):
    """What a run hands to its optimiser: settings, and the learning rate at every step."""
    settings, rates = {}, []

    class Spy(torch.optim.AdamW):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            settings.update(self.defaults)

        def step(self, closure=None):
            (group,) = self.param_groups
            rates.append(group["lr"])
            return super().step(closure)

    monkeypatch.setattr(torch.optim, "AdamW", Spy)
    batch = ({"ren": torch.randn(2, 2, 1, 1)}, torch.zeros(2, 1, 1, dtype=torch.uint8))
    device = torch.device("cpu")
    train_heads([batch] * total, {"ren": 2}, config, num_classes=2, total=total, device=device,
                seed=0)  # fmt: skip
    return settings, rates


def test_learning_rates_of_the_released_recipe(monkeypatch):
    config = replace(HEAD_PRESETS["release"], warmup=10)
    settings, rates = rates_of_every_step(monkeypatch, config, 40)
    assert (settings["weight_decay"], settings["betas"]) == (0.01, (0.9, 0.999))
    assert rates[:10] == pytest.approx([1e-3 * (s + 1) / 10 for s in range(10)])
    cosine = [1e-3 * (1 + math.cos(math.pi * s / 29)) / 2 for s in range(30)]
    assert rates[10:] == pytest.approx(cosine, abs=1e-12)
    assert rates[-1] == 0


def test_learning_rates_of_the_dinov2_recipe(monkeypatch):
    config = replace(HEAD_PRESETS["dinov2-lin"], warmup=5)
    settings, rates = rates_of_every_step(monkeypatch, config, 40)
    assert (settings["weight_decay"], settings["betas"]) == (1e-4, (0.9, 0.999))
    falling = [1e-3 * (1 - s / 40) for s in range(40)]
    assert rates[5:] == pytest.approx(falling[5:])
    rising = [f * (s + 1) / 5 for s, f in enumerate(falling[:5])]
    assert rates[:5] == pytest.approx(rising)


def test_first_weights_follow_the_recipe():
    torch.manual_seed(0)
    kaiming = SegmentationHead(512, 64, HEAD_PRESETS["release"])
    normal = SegmentationHead(512, 64, HEAD_PRESETS["dinov2-lin"])
    assert kaiming.classify.weight.std().item() == pytest.approx(math.sqrt(2 / 512), rel=0.05)
    assert normal.classify.weight.std().item() == pytest.approx(0.01, rel=0.05)
    assert (kaiming.dropout.p, normal.dropout.p) == (0, 0)
    assert SegmentationHead(8, 2, HeadConfig(dropout=0.1)).dropout.p == 0.1
    assert (kaiming.norm.eps, kaiming.norm.momentum, kaiming.norm.affine) == (1e-5, 0.1, True)


def test_batch_without_any_label_does_not_spoil_the_head():
    tokens = torch.randn(2, 3, 2, 2)
    batches = [({"ren": tokens}, torch.full((2, 8, 8), VOID, dtype=torch.uint8))] * 3
    heads = train_heads(
        batches, {"ren": 3}, QUICK, num_classes=2, total=3, device=torch.device("cpu"), seed=0
    )
    assert bool(torch.isfinite(heads["ren"].classify.weight).all())
