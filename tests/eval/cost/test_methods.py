"""What a call of every method runs: REN's four ways, SAM 2, SAM."""

import sys
import types

import numpy as np
import pytest
import torch

from eval.cost.methods import (
    CompareConfig,
    check_packages,
    count_parameters,
    drawn_picture,
    ren_methods,
    sam2_method,
    sam_method,
)
from ren_core.errors import ConfigError
from ren_core.region_encoder import RegionEncoder
from tests.eval.cost.fakes import CPU
from tests.tiny import SPEC, TinyEncoder


def test_all_four_ways_to_run_ren():
    picture = drawn_picture((40, 60))
    methods = ren_methods(TinyEncoder(), picture, CompareConfig(), CPU)
    assert [m.name for m in methods] == [
        "REN, grid",
        "REN, grid + aggregation",
        "REN, SLIC",
        "REN, SLIC + aggregation",
    ]
    assert methods[0].parameters == count_parameters(RegionEncoder(SPEC.dim))
    assert not methods[0].encoder_included
    counts = [m.prepare(5)() for m in methods]
    assert counts[:2] == [25, 8]  # 25 prompts around 8 centres
    assert 9 <= counts[2] <= 25
    assert 3 <= counts[3] <= counts[2] / 2
    assert len({m.encode_image for m in methods}) == 1  # measured once
    methods[0].encode_image()


def test_prompts_at_once_reach_the_head(monkeypatch):
    seen = []
    forward = RegionEncoder.forward

    def spy(self, *args, **kwargs):
        seen.append(self.prompt_chunk)
        return forward(self, *args, **kwargs)

    monkeypatch.setattr(RegionEncoder, "forward", spy)
    for at_once in (None, 7, 0):
        config = CompareConfig(at_once=at_once)
        ren_methods(TinyEncoder(), drawn_picture((20, 20)), config, CPU)[0].prepare(4)()
    assert seen == [512, 7, 16]
    with pytest.raises(ConfigError, match="None or a whole number, 0 <= at_once"):
        CompareConfig(at_once=-1)
    assert CompareConfig().mode == "batches of 512 prompts in REN, 64 in mask generators"
    assert CompareConfig(at_once=7).mode == "batches of 7 prompts"
    assert CompareConfig(at_once=0).mode == "all prompts in one batch"


def test_the_published_size_of_ren():
    assert round(count_parameters(RegionEncoder(768)) / 1e6, 1) == 20.1


def test_sam2s_generator_runs_with_and_without_filters(hiera):
    picture = drawn_picture((48, 64))
    filtered = sam2_method("SAM 2", hiera, picture, CompareConfig())
    assert filtered.prepare(2)() == 0  # what the note says
    assert "keep no mask" in filtered.note
    free = sam2_method("SAM 2", hiera, picture, CompareConfig(filtered=False, at_once=3))
    assert "filters off" in free.note
    assert 1 <= free.prepare(2)() <= 3 * 4  # box NMS leaves at least one of the 12 masks
    assert free.encoder_included
    assert 0 < free.encoder_parameters < free.parameters == count_parameters(hiera)
    free.encode_image()


def test_sam2_decodes_as_many_prompts_at_once_as_asked(hiera, monkeypatch):
    import sam2.automatic_mask_generator as generator

    sizes = []
    original = generator.SAM2AutomaticMaskGenerator._process_batch

    def spy(self, points, *args, **kwargs):
        sizes.append(len(points))
        return original(self, points, *args, **kwargs)

    monkeypatch.setattr(generator.SAM2AutomaticMaskGenerator, "_process_batch", spy)
    for at_once in (0, 5):
        config = CompareConfig(at_once=at_once)
        sam2_method("SAM 2", hiera, drawn_picture((32, 32)), config).prepare(3)()
    assert sizes == [9, 5, 4]


def test_sam_is_used_where_it_is_installed(monkeypatch):
    asked = []

    class Network(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.image_encoder = torch.nn.Linear(2, 3)
            self.decoder = torch.nn.Linear(1, 1)

    class Generator:
        predictor = types.SimpleNamespace(set_image=lambda picture: None)

        def __init__(self, network, **settings):
            asked.append(settings)

        def generate(self, picture):
            return [{}, {}]

    module = types.ModuleType("segment_anything")
    module.SamAutomaticMaskGenerator = Generator
    module.sam_model_registry = {"vit_b": Network}
    monkeypatch.setitem(sys.modules, "segment_anything", module)
    method = sam_method("vit_b", drawn_picture((8, 8)), CompareConfig(at_once=0), CPU)
    assert (method.parameters, method.encoder_parameters) == (11, 9)
    assert method.prepare(6)() == 2
    assert asked[-1]["points_per_batch"] == 36
    assert asked[-1]["pred_iou_thresh"] == 0.88
    sam_method("vit_b", drawn_picture((8, 8)), CompareConfig(filtered=False), CPU).prepare(6)
    assert (asked[-1]["pred_iou_thresh"], asked[-1]["points_per_batch"]) == (0.0, 64)
    monkeypatch.setitem(sys.modules, "segment_anything", None)
    with pytest.raises(ConfigError, match="pip install segment-anything"):
        sam_method("vit_b", drawn_picture((8, 8)), CompareConfig(), CPU)
    assert list(check_packages(["sam_vit_b", "ren", "sam_vit_h"])) == ["sam_vit_b", "sam_vit_h"]
    with pytest.raises(ConfigError, match="SAM is not installed"):
        check_packages(["sam_vit_b", "sam_vit_h"])


def test_the_drawn_picture_is_seeded_and_varied():
    picture = drawn_picture((30, 40), seed=2)
    assert (picture.shape, picture.dtype) == ((30, 40, 3), np.uint8)
    np.testing.assert_array_equal(picture, drawn_picture((30, 40), seed=2))
    assert (picture != drawn_picture((30, 40))).any()
    assert picture.std() > 20
