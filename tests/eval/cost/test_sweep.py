"""From small to large grids within limits; memory, time, and what is skipped."""

import dataclasses
import sys
import threading
import time

import pytest
import torch

from eval.cost.measure import peak_extra_mib
from eval.cost.sweep import CostPoint, Limits, available_mib, measure, sweep
from tests.eval.cost.fakes import CPU, NO_LIMITS, fake_method


def out_of_memory():
    raise MemoryError


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


@pytest.mark.slow
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
