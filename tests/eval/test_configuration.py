"""Every number of the evaluators' configurations has a range."""

from __future__ import annotations

import pytest

from eval.cost.methods import CompareConfig
from eval.features import FeatureConfig
from eval.haystacks.protocol import HaystackConfig
from eval.reid.calibration import CalibrationConfig
from eval.reid.protocol import ReidConfig
from eval.retrieval.queries import QueryConfig
from eval.segmentation.config import HeadConfig, Method, SegmentationConfig
from tests.configurations import accepted_values, ends_of
from tests.tiny import SPEC
from vq2d.commands.frame_config import FrameConfig

CONFIGURATIONS = [
    CompareConfig(),
    FeatureConfig(spec=SPEC, maps=("patch",)),
    HaystackConfig(),
    CalibrationConfig(kinds=("ren",)),
    ReidConfig(),
    QueryConfig(),
    HeadConfig(),
    Method(),
    SegmentationConfig(methods=(Method(),), head=HeadConfig(), grid_size=4),
    FrameConfig(),
]


@pytest.mark.parametrize("config", CONFIGURATIONS, ids=lambda config: type(config).__name__)
def test_every_number_has_a_range(config):
    accepted = list(accepted_values(config, named=lambda key: key.rpartition(".")[2]))
    huge = {key for key, value in accepted if value in (10**9, (10**9,), (10**9, 10**9))}
    assert huge <= {"seed", "seeds"}
    list(ends_of(config))  # every number has two
