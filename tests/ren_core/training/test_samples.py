"""Prompts of a view and the regions they stand for."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ren_core.errors import ConfigError
from ren_core.training.samples import (
    PromptSampling,
    ViewSample,
    collate,
    draw_prompts,
    regions_of_view,
)
from ren_core.training.views import plain_view


def test_regions_of_a_view_drop_what_is_out_of_sight():
    image = np.zeros((8, 8, 3), np.uint8)
    masks = np.zeros((2, 8, 8), bool)
    masks[1, :4] = True
    labels, names, coverage = regions_of_view(plain_view(image, masks, 8), np.array([3, 7]), 4)
    assert names.tolist() == [7]
    assert labels[0, 0] == 0
    assert labels[7, 7] == -1
    assert coverage[0, :2].min() == 255
    assert coverage[0, 2:].max() == 0


def test_prompt_sampling_options():
    labels = np.full((40, 40), -1, np.int16)
    labels[:10, :40] = 0
    labels[20:22, 0:10] = 1  # 20 pixels against 400
    flat = labels.ravel()

    def draw(**options):
        at = draw_prompts(labels, PromptSampling(**options), np.random.default_rng(0))
        return flat[at], at

    plain, at = draw(count=1600)
    assert len(np.unique(at)) == 1600  # without replacement
    assert (plain == -1).sum() == (flat == -1).sum()
    covered, _ = draw(count=300, null_prompts=False)
    assert (covered >= 0).all()
    assert 0 < (covered == 1).sum() < 60
    balanced, _ = draw(count=300, null_prompts=False, balance=1.0)
    assert 100 < (balanced == 1).sum() < 200
    nothing = draw_prompts(
        np.full((4, 4), -1, np.int16), PromptSampling(count=5), np.random.default_rng(0)
    )
    assert len(nothing) == 5
    with pytest.raises(ConfigError, match="balance"):
        PromptSampling(balance=2)


def test_collate_pools_regions_and_shares_names_in_a_group():
    labels = np.zeros((8, 8), np.int16)
    labels[:, 4:] = 1
    labels[7] = -1
    coverage = np.zeros((2, 2, 2), np.uint8)
    coverage[0, :, 0] = coverage[1, :, 1] = 255
    features = torch.arange(12.0).reshape(3, 2, 2)
    samples = [ViewSample(features, labels, np.array([5, 9]), coverage)] * 3
    batch = collate(samples, ["a", "a", "b"], PromptSampling(count=64), np.random.default_rng(0))
    y, x = batch.points_yx.unbind(-1)
    assert ((batch.region_ids < 0) == (y == 7)).all()
    left, right = (x < 4) & (y < 7), (x >= 4) & (y < 7)
    assert (batch.targets[left] == torch.tensor([1.0, 5, 9])).all()  # means of columns 0
    assert (batch.targets[right] == torch.tensor([2.0, 6, 10])).all()
    assert (batch.targets[y == 7] == 0).all()
    assert (batch.coverage[left] == torch.tensor([1.0, 0, 1, 0])).all()
    assert set(batch.region_ids[0].tolist()) == set(batch.region_ids[1].tolist())
    shared = set(batch.region_ids[0].tolist()) & set(batch.region_ids[2].tolist())
    assert shared == {-1}
