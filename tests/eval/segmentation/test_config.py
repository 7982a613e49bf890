"""Recipes against the published ones, schedules, and refused settings."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest

from eval.segmentation import predict, views
from eval.segmentation.config import HEAD_PRESETS, HeadConfig, Method, SegmentationConfig
from ren_core.errors import ConfigError
from tests.segmentation_sets import QUICK

# Semantic segmentation of the REN release, and DINOv2's linear evaluation (its published VOC2012
# configuration: dropout_ratio=0, weight_decay=1e-4, poly power 1, 1,500 steps of warm-up).
RECIPES = {
    "release": {
        "epochs": 100,
        "steps": None,
        "batch": 32,
        "learning_rate": 1e-3,
        "weight_decay": 0.01,
        "warmup": 100,
        "schedule": "cosine",
        "augmentation": "resized-crop",
        "squash": "bicubic",
        "flip": 0.5,
        "dropout": 0.0,
        "normal_init": None,
        "label_stride": 1,
        "slide": False,
    },
    "dinov2-lin": {
        "epochs": 100,  # not used: steps are given
        "steps": 40_000,
        "batch": 16,
        "learning_rate": 1e-3,
        "weight_decay": 1e-4,
        "warmup": 1500,
        "schedule": "linear",
        "augmentation": "scale-crop",
        "squash": "bicubic",  # not used: windows slide
        "flip": 0.5,
        "dropout": 0.0,
        "normal_init": 0.01,
        "label_stride": 1,
        "slide": True,
    },
}


def test_recipes_are_those_of_the_references():
    assert {name: asdict(HEAD_PRESETS[name]) for name in RECIPES} == RECIPES
    assert (views.AREA, views.RATIO) == ((0.08, 1.0), (3 / 4, 4 / 3))
    assert (views.SCALE, views.LONGEST) == ((0.5, 2.0), 2048 / 512)
    assert (views.ONE_CLASS, views.ATTEMPTS) == (0.75, 10)
    assert (views.BRIGHTNESS, views.FACTOR, views.HUE) == (32, (0.5, 1.5), 2 * 18)
    assert predict.SLIDE_STEP == 341 / 512


def test_schedules():
    cosine = HeadConfig(warmup=2)
    assert cosine.rate_factor(0, 10) == 0.5
    assert cosine.rate_factor(9, 10) == 0
    linear = replace(cosine, schedule="linear")
    assert [linear.rate_factor(s, 10) for s in (0, 1, 5)] == [0.5, 0.9, 0.5]
    assert cosine.rate_factor(0, 1) >= 0  # a single step has no warm-up
    assert HeadConfig(epochs=3, batch=4).total_steps(10) == 9
    assert HEAD_PRESETS["dinov2-lin"].total_steps(10) == 40_000


@pytest.mark.parametrize(
    "change",
    [
        {"schedule": "step"},
        {"augmentation": "mixup"},
        {"squash": "nearest"},
        {"batch": 0},
        {"steps": -1},
        {"label_stride": 0},
    ],
)
def test_bad_recipes_are_refused(change):
    with pytest.raises(ConfigError):
        HeadConfig(**change)


def test_bad_methods_are_refused():
    with pytest.raises(ConfigError, match="'sam'"):
        Method(source="sam")
    with pytest.raises(ConfigError, match="'mask'"):
        Method(prompting="mask")
    with pytest.raises(ConfigError, match=r"methods must be a tuple of 1 or more values; got \(\)"):
        SegmentationConfig(methods=(), head=QUICK, grid_size=4)
    with pytest.raises(ConfigError, match="ren-grid stands twice"):
        SegmentationConfig(methods=(Method(), Method(min_group=2)), head=QUICK, grid_size=4)
    assert Method(source="ren", prompting="slic", merge_similarity=0.9).name == "ren-slic-0.9"
    assert Method(source="patches", regions=80).name == "patches-grid-k80"
    with pytest.raises(ConfigError, match="not by both"):
        Method(merge_similarity=0.9, regions=80)
