"""Configurations whose values are checked, and those of the region model and of its training."""

from __future__ import annotations

import pickle
from copy import deepcopy
from dataclasses import FrozenInstanceError, asdict, field, fields, replace
from typing import Annotated, Literal

import pytest
from pydantic import Field

from ren_core.configuration import Cosine, Count, Zoom, changed, configuration
from ren_core.errors import ConfigError
from ren_core.presets import RENConfig
from ren_core.sam2.settings import Sam2MaskConfig
from ren_core.stages import to_plain
from ren_core.training.config import LossConfig, TrainConfig
from ren_core.training.feature_cache import CacheConfig
from ren_core.training.online import OnlineConfig
from ren_core.training.recipes import Recipe, SourceUse
from ren_core.training.samples import PromptSampling
from ren_core.training.views import ViewConfig
from ren_core.transfer import TransferConfig
from tests.configurations import accepted_values, ends_of


@configuration(group="part")
class Part:
    """Of a whole."""

    count: Count = 3
    zooms: Annotated[tuple[Zoom, ...], Field(max_length=4)] = (1.0, 2.5)
    pair: tuple[Count, Count] | None = (2, 3)
    floor: Cosine | None = None
    kind: Literal["red", "blue"] = "red"
    merged: bool = False
    name: str = "ren"
    share: Annotated[float, Field(gt=0, lt=1)] = 0.5

    def __post_init__(self) -> None:
        if self.count == 7:
            raise ConfigError("seven does not go with red")


@configuration()
class Whole:
    size: Count
    part: Part = field(default_factory=Part)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("count", -5, "must be a whole number, 1 <= part.count <= 10000; got -5 (default 3)"),
        ("count", 3.0, "must be a whole number, 1 <= part.count <= 10000; got 3.0 (default 3)"),
        ("count", True, "must be a whole number, 1 <= part.count <= 10000; got True (default 3)"),
        ("share", 1.0, "must be a number, 0 < part.share < 1; got 1.0 (default 0.5)"),
        ("share", "0.3", "must be a number, 0 < part.share < 1; got '0.3' (default 0.5)"),
        (
            "floor",
            float("nan"),
            "must be None or a number, -1 <= part.floor <= 1; got nan (default None)",
        ),
        ("kind", "green", "must be 'red' or 'blue'; got 'green' (default 'red')"),
        ("merged", 1, "must be True or False; got 1 (default False)"),
        ("name", 3, "must be a text; got 3 (default 'ren')"),
        (
            "zooms",
            (1.0, 0.5),
            "must be a tuple of 0 to 4 values, each a number, 1 <= value <= 100; got 0.5 in it "
            "(default (1.0, 2.5))",
        ),
        (
            "pair",
            (2,),
            "must be None or a tuple of 2 values, each a whole number, 1 <= value <= 10000; "
            "got (2,) (default (2, 3))",
        ),
    ],
)
def test_a_wrong_value_is_refused_in_one_sentence(name, value, message):
    with pytest.raises(ConfigError) as err:
        Part(**{name: value})
    assert str(err.value) == f"part.{name} {message}"


def test_names_and_groups_are_checked():
    for wrong, message in (
        ({"size": 1, "sise": 2}, "no setting is called 'sise'; choose one of size, part"),
        ({}, "size must be given: a whole number, 1 <= size <= 10000"),
        ({"size": 0}, "size must be a whole number, 1 <= size <= 10000; got 0"),
    ):
        with pytest.raises(ConfigError) as err:
            Whole(**wrong)
        assert str(err.value) == message
    with pytest.raises(ConfigError, match="part must be of type Part; got 3 "):
        Whole(size=1, part=3)


def test_checks_of_several_values_keep_their_words():
    with pytest.raises(ConfigError, match="seven does not go with red"):
        Part(count=7)


def test_a_long_value_is_cut():
    with pytest.raises(ConfigError) as err:
        Part(name="x", kind="y" * 10_000)
    assert len(str(err.value)) < 250


def test_it_is_a_frozen_dataclass_like_any_other():
    whole = Whole(size=2, part=Part(zooms=(1, 2), share=0.25))
    assert all(type(zoom) is float for zoom in whole.part.zooms)
    assert [f.name for f in fields(whole)] == ["size", "part"]
    assert fields(Part)[0].default == 3
    assert asdict(whole)["part"]["zooms"] == (1.0, 2.0)
    assert to_plain(whole)["part"]["type"] == "Part"
    assert replace(whole, size=3).part is whole.part
    assert whole == deepcopy(whole) == pickle.loads(pickle.dumps(whole))
    assert hash(whole) == hash(deepcopy(whole))
    with pytest.raises(FrozenInstanceError):
        whole.size = 3
    with pytest.raises(ConfigError, match="size"):
        replace(whole, size=0)


def test_values_are_changed_by_dotted_key():
    whole = changed(Whole(size=2), {"size": 5, "part.count": 9, "part.floor": 1})
    assert (whole.size, whole.part.count, whole.part.floor) == (5, 9, 1.0)
    for wrong, message in (
        ({"part.counts": 3}, "no setting is called 'part.counts'; 'counts' is none of count, zoo"),
        ({"parts.count": 3}, "no setting is called 'parts.count'; 'parts' is none of size, part"),
        ({"part": 3}, "'part' is a group of settings; name one of them, such as part.count"),
        ({"part.count.x": 3}, "no setting is called 'part.count.x'; 'part.count' is a value"),
        ({"part.count": 0}, "part.count must be a whole number"),
    ):
        with pytest.raises(ConfigError) as err:
            changed(Whole(size=2), wrong)
        assert str(err.value).startswith(message)


VIEWS = ViewConfig(size=56)
CONFIGURATIONS = [
    RENConfig(encoder="tiny", head="tiny"),
    TransferConfig(),
    Sam2MaskConfig(),
    LossConfig(),
    TrainConfig(steps=1000),
    VIEWS,
    CacheConfig(source="a", encoder="b", views=VIEWS),
    OnlineConfig(views=VIEWS, pairs=2, sampling=PromptSampling(), seed=0),
    SourceUse(),
    Recipe(encoder="tiny", train=TrainConfig(steps=1000)),
]


@pytest.mark.parametrize("config", CONFIGURATIONS, ids=lambda config: type(config).__name__)
def test_every_number_has_a_range(config):
    accepted = list(accepted_values(config, named=lambda key: key.rpartition(".")[2]))
    huge = {key for key, value in accepted if value in (1e9, 10**9)}
    assert {key.rpartition(".")[2] for key in huge} <= {"seed", "views_seed", "max_grad_norm"}
    list(ends_of(config))  # every number has two
