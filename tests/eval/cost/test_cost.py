"""Cost of the methods: what a call runs, limits, out of memory, skipped points, the plot."""

import dataclasses
import json
import sys
import threading
import time
import types

import cv2
import numpy as np
import pytest
import torch

from eval.cost import methods
from eval.cost.flops import FlopCount, gflop
from eval.cost.measure import grouped_tokens, peak_extra_mib
from eval.cost.methods import (
    CompareConfig,
    check_packages,
    count_parameters,
    drawn_picture,
    ren_methods,
    sam2_method,
    sam_method,
)
from eval.cost.plot import plot_costs
from eval.cost.ratios import BASE, cost_ratios
from eval.cost.record import CostRecord
from eval.cost.sweep import CostPoint, Limits, Method, available_mib, measure, sweep
from ren_core.aggregation import aggregate
from ren_core.errors import ConfigError, DataError
from ren_core.region_encoder import RegionEncoder
from tests.tiny import SPEC, TinyEncoder

CPU = torch.device("cpu")
NO_LIMITS = Limits(repeats=1)


def out_of_memory():
    raise MemoryError


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


def test_known_points_are_given_and_decide_what_follows():
    def prepare(side):
        assert side == 4  # all others are known
        return lambda: side

    point = CostPoint(method="fake", per_side=2, status="measured", seconds=1.0, peak_mib=1.0)
    lost = CostPoint(method="fake", per_side=8, status="out of memory", note="more than 5 MiB")
    known = {0: dataclasses.replace(point, per_side=0), 2: point, 8: lost}
    points = list(sweep(fake_method(prepare), [2, 4, 8, 16], NO_LIMITS, CPU, known=known))
    assert points[:2] == [known[0], point]
    assert points[2].regions == 4
    assert points[3] == lost
    assert (points[4].status, points[4].note) == ("skipped", "no figure at 8x8 (more than 5 MiB)")


def test_a_long_call_is_made_once(monkeypatch):
    monkeypatch.setattr("eval.cost.sweep.LONG_CALL", 0.0)
    calls = []
    point = measure("slow", 1, lambda: calls.append(1), Limits(repeats=5), CPU)
    assert (len(calls), point.calls) == (1, 1)
    monkeypatch.setattr("eval.cost.sweep.LONG_CALL", 60.0)
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

    monkeypatch.setattr("eval.cost.sweep.measure", measured)
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


@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited on Linux only")
def test_memory_beyond_the_limit_is_out_of_memory():
    def call():
        return len(torch.ones(400, 1024, 1024, dtype=torch.uint8))

    threads = threading.active_count()
    point = measure("large", 1, call, Limits(memory_mib=200), CPU)
    assert (point.status, point.note) == ("out of memory", "more than 200 MiB")
    assert measure("large", 1, call, Limits(memory_mib=1200, repeats=1), CPU).status == "measured"
    assert measure("large", 1, call, NO_LIMITS, CPU).regions == 400
    assert threading.active_count() == threads
    assert available_mib(0.5) == pytest.approx(available_mib() / 2, rel=0.2)


@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited on Linux only")
def test_the_verdict_on_memory_does_not_depend_on_what_ran_before():
    pins = []

    def call():  # small blocks stay mapped when they are freed, below one that is not freed
        blocks = [torch.ones(100 << 10, dtype=torch.uint8) for _ in range(1000)]
        pins.append(torch.ones(100 << 10, dtype=torch.uint8))
        return len(blocks)

    limits = [Limits(memory_mib=mib, repeats=1) for mib in (50, 50, 200, 50)]
    found = [measure("small blocks", 1, call, limit, CPU).status for limit in limits]
    lost, fits = "out of memory", "measured"
    assert found == [lost, lost, fits, lost]


@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited on Linux only")
def test_what_the_machine_does_not_have_is_refused_and_leaves_nothing_behind():
    gone = int(2 * available_mib())  # must fail when it is asked for, not when it is filled

    def call():
        return len(torch.empty(gone, 1024, 1024, dtype=torch.uint8).fill_(1))

    import resource

    before, threads = resource.getrlimit(resource.RLIMIT_AS), threading.active_count()
    for _ in range(2):
        point = measure("huge", 1, call, Limits(memory_mib=200), CPU)
        assert point.status == "out of memory"
    assert threading.active_count() == threads
    assert resource.getrlimit(resource.RLIMIT_AS) == before


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read on Linux only")
def test_memory_is_sampled_where_the_peak_cannot_be_set_back(monkeypatch):
    monkeypatch.setattr("eval.cost.measure.forget_peak", lambda: False)

    def call():
        block = torch.ones(64, 1024, 1024, dtype=torch.uint8)
        time.sleep(0.2)
        assert threading.active_count() == threads + 1
        return block

    def fails():
        raise RuntimeError("broken")

    threads = threading.active_count()
    assert 60 <= peak_extra_mib(call, CPU) <= 90
    for _ in range(3):
        with pytest.raises(RuntimeError, match="broken"):
            peak_extra_mib(fails, CPU)
    assert threading.active_count() == threads
    for _ in range(2):  # a failing allocation, too
        limits = Limits(memory_mib=200)
        assert measure("lost", 1, out_of_memory, limits, CPU).status == "out of memory"
    assert threading.active_count() == threads


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
    tokens = grouped_tokens(1369, 64, methods.IMAGE_REGIONS)
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
    assert CompareConfig().mode == "batches of 512 prompts in REN, 64 in mask generators"
    assert CompareConfig(at_once=7).mode == "batches of 7 prompts"
    assert CompareConfig(at_once=0).mode == "all prompts in one batch"


def test_the_published_size_of_ren():
    assert round(count_parameters(RegionEncoder(768)) / 1e6, 1) == 20.1


# --- mask generators -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def hiera():
    pytest.importorskip("sam2")
    from ren_core.sam2.model import Sam2Model

    return Sam2Model.random("sam2.1_hiera_t", 0, device="cpu", image_size=128).network


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


# --- operations ----------------------------------------------------------------------------------


def test_operations_of_ren_are_those_of_its_products():
    method = ren_methods(TinyEncoder(), drawn_picture((40, 60)), CompareConfig(), CPU)[0]
    count = method.flops(3)
    D, P, N, layers = SPEC.dim, SPEC.grid**2, 9, 4
    convolution = P * D * 6 * SPEC.patch_size**2
    # per block: queries, output and MLP of prompts; keys and, but for the last, values of patches
    linear = D * D * (N * (1 + 6 * layers) + P * (2 * layers - 1))
    attention = 2 * layers * N * P * D
    assert count.encoder_gflop * 1e9 == pytest.approx(2 * convolution)
    assert count.prompts_gflop * 1e9 == pytest.approx(2 * (linear + attention))
    assert count.gflop == count.encoder_gflop + count.prompts_gflop


def test_operations_of_sam2_without_data_are_those_of_a_call(hiera):
    method = sam2_method("SAM 2", hiera, drawn_picture((48, 64)), CompareConfig(at_once=3))
    count = method.flops(2)
    assert (count.method, count.per_side) == ("SAM 2", 2)
    assert count.encoder_gflop == pytest.approx(gflop(method.encode_image))
    # a position code of the image, the same for all prompts, is made in each of the two batches
    assert count.gflop == pytest.approx(gflop(method.prepare(2)), rel=1e-3)


# --- ratios and the record -----------------------------------------------------------------------

REN_FACTS = fake_method(name=BASE, parameters=20, encoder_parameters=30)
SAM_FACTS = fake_method(name="SAM", parameters=200, encoder_parameters=90, encoder_included=True)


def cost(name, side, seconds):
    found = {"status": "measured", "seconds": seconds, "peak_mib": 1.0, "calls": 1}
    return CostPoint(method=name, per_side=side, **found)


def test_ratios_are_taken_at_the_usual_side_or_the_largest_of_both():
    ours = [cost(BASE, 0, 3.0), cost(BASE, 16, 1.0), cost(BASE, 32, 2.0), cost(BASE, 64, 9.0)]
    theirs = [cost("SAM", 0, 5.0), cost("SAM", 16, 40.0), cost("SAM", 32, 100.0)]
    (ratio,) = cost_ratios([REN_FACTS, SAM_FACTS], ours + theirs)
    assert (ratio.method, ratio.per_side) == ("SAM", 32)
    assert (ratio.seconds, ratio.seconds_with_encoder) == (50.0, 20.0)
    assert (ratio.parameters, ratio.parameters_with_encoder) == (10.0, 4.0)
    assert "50.0 times the seconds and 10.0 times the parameters" in ratio.sentence()
    assert "20.0 and 4.0 times with the patch encoder" in ratio.sentence()
    (ratio,) = cost_ratios([REN_FACTS, SAM_FACTS], ours[1:] + theirs[:2])
    assert (ratio.per_side, ratio.seconds, ratio.seconds_with_encoder) == (16, 40.0, None)
    assert "no figure" in ratio.sentence()
    assert cost_ratios([SAM_FACTS], theirs) == []
    assert cost_ratios([REN_FACTS, SAM_FACTS], ours + theirs[:1]) == []


def record_of(path, settings=None, memory_mib=100.0):
    return CostRecord(path, settings or {"size": (3, 4)}, memory_mib, "in batches", {})


def test_a_record_is_on_disk_after_every_point(tmp_path):
    path = tmp_path / "cost.json"
    record = record_of(path)
    record.add_method(SAM_FACTS)
    record.add(cost("SAM", 2, 4.0))
    first = json.loads(path.read_text())
    assert [p["seconds"] for p in first["points"]] == [4.0]
    assert path.with_suffix(".png").exists()
    lost = CostPoint(method="SAM", per_side=4, status="out of memory", note="x")
    skipped = CostPoint(method="SAM", per_side=8, status="skipped", note="y")
    for point in (lost, skipped):
        record.add(point)
    record.add_flops(FlopCount(method="SAM", per_side=32, encoder_gflop=1.0, prompts_gflop=2.0))

    again = record_of(path)
    assert again.changed == []
    assert again.known("SAM") == {2: cost("SAM", 2, 4.0), 4: lost}
    assert again.known("other") == {}
    assert (again.methods, again.flops) == (record.methods, record.flops)
    before = path.stat().st_mtime_ns
    again.add(lost)
    assert path.stat().st_mtime_ns == before  # nothing new
    assert record_of(path, memory_mib=90.0).known("SAM") == {2: cost("SAM", 2, 4.0)}


def test_a_record_with_other_settings_does_not_count(tmp_path):
    path = tmp_path / "cost.json"
    record = record_of(path)
    record.add_method(SAM_FACTS)
    record.add(cost("SAM", 2, 4.0))
    other = record_of(path, {"size": (3, 5)})
    assert (other.changed, other.known("SAM"), other.methods) == (["size"], {}, {})
    for text in ("{", "[]"):
        path.write_text(text)
        with pytest.raises(DataError, match="choose another --out"):
            record_of(path)


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
    drawn = {"with": (points, "m"), "without": (points[:2], "m"), "mode": (points, "other mode")}
    for name, (shown, mode) in drawn.items():
        plot_costs(tmp_path / f"{name}.png", [fake_method()], shown, mode)
    with_lost, without, mode = (cv2.imread(str(tmp_path / f"{n}.png")) for n in drawn)
    assert with_lost.shape == without.shape == mode.shape
    assert (with_lost != without).any()
    assert (with_lost != mode).any()


def test_a_plot_can_be_drawn_before_there_is_a_figure(tmp_path):
    encoder = CostPoint(method="fake", per_side=0, status="measured", seconds=1.0, peak_mib=0.0)
    free = dataclasses.replace(encoder, per_side=8)  # as where memory cannot be read
    lost = CostPoint(method="fake", per_side=8, status="out of memory")
    for i, points in enumerate(([encoder], [encoder, free], [encoder, lost], [])):
        plot_costs(tmp_path / f"{i}.png", [fake_method()], points, "m")
        assert (tmp_path / f"{i}.png").stat().st_size > 1000
