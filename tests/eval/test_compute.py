"""Cost of the methods: what a call runs, limits, out of memory, skipped points, the plot."""

import dataclasses
import sys
import types

import cv2
import numpy as np
import pytest
import torch

from eval import cost_models
from eval.compute import grouped_tokens
from eval.cost_models import (
    CompareConfig,
    count_parameters,
    drawn_picture,
    ren_methods,
    sam2_method,
    sam_method,
)
from eval.cost_plot import plot_costs
from eval.cost_sweep import CostPoint, Limits, Method, available_mib, measure, sweep
from ren_core.aggregation import aggregate
from ren_core.errors import ConfigError
from ren_core.region_encoder import RegionEncoder
from tests.tiny import SPEC, TinyEncoder

CPU = torch.device("cpu")
NO_LIMITS = Limits(repeats=1)


def fake_method(call=lambda side: lambda: side, **changes):
    facts = {"name": "fake", "parameters": 3, "prepare": call, "encode_image": lambda: None}
    rest = {"encoder_parameters": 1, "encoder_included": False, "note": ""}
    return Method(**{**facts, **rest, **changes})


# --- the sweep -----------------------------------------------------------------------------------


def test_points_go_from_small_to_large_after_the_image_encoder():
    points = list(sweep(fake_method(), [4, 2], Limits(repeats=2), CPU))
    assert [(p.per_side, p.status, p.regions) for p in points] == [
        (0, "measured", None),
        (2, "measured", 2),
        (4, "measured", 4),
    ]
    assert all(p.seconds > 0 and p.calls == 2 for p in points)
    again = list(sweep(fake_method(), [2], NO_LIMITS, CPU, encoder=points[0]))
    assert [p.per_side for p in again] == [2]


def test_a_long_call_is_made_once(monkeypatch):
    monkeypatch.setattr("eval.cost_sweep.LONG_CALL", 0.0)
    calls = []
    point = measure("slow", 1, lambda: calls.append(1), Limits(repeats=5), CPU)
    assert (len(calls), point.calls) == (1, 1)
    monkeypatch.setattr("eval.cost_sweep.LONG_CALL", 60.0)
    measure("fast", 1, lambda: calls.append(1), Limits(repeats=5), CPU)
    assert len(calls) == 7  # one that warms up, five that count


@pytest.mark.parametrize("error", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory")])
def test_out_of_memory_is_a_point_and_larger_ones_are_skipped(error):
    def prepare(side):
        def call():
            if side > 2:
                raise error
            return 1

        return call

    points = list(sweep(fake_method(prepare), [2, 4, 8, 16], NO_LIMITS, CPU))[1:]
    assert [p.status for p in points] == ["measured", "out of memory", "skipped", "skipped"]
    assert "no figure at 4x4" in points[2].note
    assert points[1].seconds is None


def test_other_errors_are_not_swallowed():
    def prepare(side):
        def call():
            raise RuntimeError("shapes disagree")

        return call

    with pytest.raises(RuntimeError, match="shapes"):
        list(sweep(fake_method(prepare), [2], NO_LIMITS, CPU))


def test_points_over_the_time_limit_are_skipped_and_say_so(monkeypatch):
    seconds = {0: 2.0, 1: 3.0, 2: 6.0}

    def measured(name, side, call, limits, device):
        return CostPoint(method=name, per_side=side, status="measured", seconds=seconds[side])

    monkeypatch.setattr("eval.cost_sweep.measure", measured)
    limits = Limits(seconds=17.0)
    # prompts cost 3 s at 2x2 without encoder: 6 * 4 = 24 s at 4x4
    points = list(sweep(fake_method(), [1, 2, 4], limits, CPU))
    assert [p.status for p in points] == ["measured", "measured", "measured", "skipped"]
    assert points[3].note == "time limit: 17 s, about 24 s expected"
    assert points[3].seconds is None
    # with the encoder's 2 s inside: 2 + 4 * 4 = 18 s
    points = list(sweep(fake_method(encoder_included=True), [1, 2, 4], limits, CPU))
    assert points[3].note == "time limit: 17 s, about 18 s expected"
    seconds[4] = 18.0
    points = list(sweep(fake_method(encoder_included=True), [1, 2, 4], Limits(seconds=18), CPU))
    assert points[3].status == "measured"


@pytest.mark.skipif(sys.platform != "linux", reason="address space is limited on Linux only")
def test_memory_beyond_the_limit_is_out_of_memory():
    def call():
        return len(torch.zeros(400, 1024, 1024, dtype=torch.uint8))

    point = measure("large", 1, call, Limits(memory_mib=200), CPU)
    assert (point.status, point.note) == ("out of memory", "more than 200 MiB")
    assert measure("large", 1, call, Limits(memory_mib=1200, repeats=1), CPU).status == "measured"
    assert measure("large", 1, call, NO_LIMITS, CPU).regions == 400
    assert available_mib(0.5) == pytest.approx(available_mib() / 2, rel=0.2)


# --- REN -----------------------------------------------------------------------------------------


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


def test_merged_tokens_form_as_many_regions_as_the_paper_keeps():
    tokens = grouped_tokens(1369, 64, cost_models.IMAGE_REGIONS)
    groups = aggregate(tokens, torch.zeros(1369, 2, dtype=torch.int64), 0.975)
    assert len(groups.tokens) == 72
    assert int(groups.counts.min()) == 19


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
    with pytest.raises(ConfigError, match="0 \\(all\\) or more"):
        CompareConfig(at_once=-1)


def test_the_published_size_of_ren():
    assert round(count_parameters(RegionEncoder(768)) / 1e6, 1) == 20.1


# --- mask generators -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def hiera():
    pytest.importorskip("sam2")
    from vq2d.masking.sam2_model import Sam2Model

    return Sam2Model.random("sam2.1_hiera_t", 0, device="cpu", image_size=128).network


def test_sam2s_generator_runs_with_and_without_filters(hiera):
    picture = drawn_picture((48, 64))
    filtered = sam2_method("SAM 2", hiera, picture, CompareConfig())
    assert filtered.prepare(2)() == 0  # what the note says
    assert "keep no mask" in filtered.note
    free = sam2_method("SAM 2", hiera, picture, CompareConfig(filtered=False, at_once=3))
    assert "filters off" in free.note
    assert 0 <= free.prepare(2)() <= 3 * 4
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


# --- pictures ------------------------------------------------------------------------------------


def test_the_drawn_picture_is_seeded_and_varied():
    picture = drawn_picture((30, 40), seed=2)
    assert (picture.shape, picture.dtype) == ((30, 40, 3), np.uint8)
    np.testing.assert_array_equal(picture, drawn_picture((30, 40), seed=2))
    assert (picture != drawn_picture((30, 40))).any()
    assert picture.std() > 20


def test_the_plot_shows_lines_and_lost_points(tmp_path):
    base = CostPoint(method="fake", per_side=8, status="measured", seconds=1.0, peak_mib=10.0)
    lost = CostPoint(method="fake", per_side=32, status="out of memory")
    points = [base, dataclasses.replace(base, per_side=16, seconds=4.0), lost]
    plot_costs(tmp_path / "with.png", [fake_method()], points)
    plot_costs(tmp_path / "without.png", [fake_method()], points[:2])
    with_lost, without = (cv2.imread(str(tmp_path / f"{n}.png")) for n in ("with", "without"))
    assert with_lost.shape == without.shape
    assert (with_lost != without).any()
