"""Settings of a training that make no sense are refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ren_core.errors import ConfigError
from ren_core.training.config import LossConfig
from tests.training_cases import CONFIG


@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": 0},
        {"warmup": 6},
        {"pairs": 0},
        {"precision": "int8"},
        {"start": "near"},
        {"queries": "none"},
        {"learning_rate": 0},
        {"sharpness": 0.0},
        {"dropout": 1.0},
    ],
)
def test_train_config_rejects_nonsense(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        replace(CONFIG, **wrong)


def test_loss_config_rejects_nonsense():
    with pytest.raises(ConfigError, match="scope"):
        LossConfig(scope="world")
    with pytest.raises(ConfigError, match="not be all zero"):
        LossConfig(contrast=0, feature=0)
