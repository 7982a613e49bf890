"""Time and memory of a method against its number of prompts, within limits."""

from __future__ import annotations

import contextlib
import gc
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from eval.cost.flops import FlopCount
from eval.cost.measure import MIB, peak_extra_mib, seconds_of

LONG_CALL = 5.0  # seconds from which one call is enough, and its warm-up does not matter

Call = Callable[[], object]
Status = Literal["measured", "out of memory", "skipped"]


@dataclass(frozen=True, kw_only=True, slots=True)
class MethodFacts:
    """What tables, plots and files say of a method.

    Attributes:
        name: As tables and plots show it.
        parameters: Of everything that a call runs.
        encoder_parameters: Of the image encoder.
        encoder_included: True if a call runs the image encoder too.
        note: What a reader must know about the figures.
    """

    name: str
    parameters: int
    encoder_parameters: int
    encoder_included: bool
    note: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Method(MethodFacts):
    """Something that turns one image and a grid of prompts into regions.

    Attributes:
        prepare: Takes prompts per side, gives the call to measure; the call returns how many
            regions it found.
        encode_image: The image encoder alone.
        flops: Takes prompts per side, counts the operations; None: they are not counted.
    """

    prepare: Callable[[int], Callable[[], int]]
    encode_image: Call
    flops: Callable[[int], FlopCount] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What a measurement may take.

    Attributes:
        seconds: A point that is expected to take longer is skipped; None: no limit.
        memory_mib: On the CPU, a call whose resident memory grows by more than this is out of
            memory; None: no limit.
        repeats: Timed calls of a short point, after one that warms up.
    """

    seconds: float | None = None
    memory_mib: float | None = None
    repeats: int = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class CostPoint:
    """One measurement, or why there is none.

    Attributes:
        method: Its name.
        per_side: Prompts per side of the image.
        status: Only ``"measured"`` points have figures.
        seconds: Median over ``calls`` calls for one image.
        peak_mib: Memory above what was there before the call.
        calls: How many calls the time stands for.
        regions: What the call found.
        note: Why there are no figures.
    """

    method: str
    per_side: int
    status: Status
    seconds: float | None = None
    peak_mib: float | None = None
    calls: int = 0
    regions: int | None = None
    note: str = ""


def sweep(
    method: Method,
    sides: Sequence[int],
    limits: Limits,
    device: torch.device,
    *,
    encoder: CostPoint | None = None,
    known: Mapping[int, CostPoint] | None = None,
) -> Iterator[CostPoint]:
    """Image encoder (as ``per_side`` 0), then one point per grid size, from small to large.

    After the first point without figures the larger ones are skipped, and say so.

    Args:
        method: What is measured.
        sides: Prompts per side.
        limits: Of a point.
        device: Where the method runs.
        encoder: The image encoder's point, if another method has measured the same one.
        known: Points of an earlier run by prompts per side; they are given, not measured again.
    """
    known = known or {}
    if encoder is None:
        encoder = known.get(0) or measure(method.name, 0, method.encode_image, limits, device)
        yield encoder
    before: CostPoint | None = None
    for side in sorted(sides):
        note = _why_not(before, side, encoder if method.encoder_included else None, limits)
        if side in known:
            point = known[side]
        elif note:
            point = CostPoint(method=method.name, per_side=side, status="skipped", note=note)
        else:
            point = measure(method.name, side, method.prepare(side), limits, device)
        yield point
        before = point


def measure(name: str, side: int, call: Call, limits: Limits, device: torch.device) -> CostPoint:
    """Memory and time of a call; a long one is called once, a short one ``repeats`` times more.

    On the CPU a call is out of memory if the resident memory grew by more than the limit, even if
    it returned. This does not depend on what ran before.
    """
    limit_mib = limits.memory_mib if device.type == "cpu" else None
    seconds: list[float] = []
    regions: list[object] = []
    lost = ""

    def first() -> None:
        seconds.append(seconds_of(lambda: regions.append(call()), device))

    try:
        with torch.inference_mode(), safety_net(limit_mib):
            peak = peak_extra_mib(first, device)
            if limit_mib is not None and peak > limit_mib:
                lost = "the limit was passed"
            elif seconds[0] < LONG_CALL:
                seconds = [seconds_of(call, device) for _ in range(limits.repeats)]
    except (RuntimeError, MemoryError) as err:
        if not _is_memory(err):
            raise
        lost = str(err)[:80] or "the allocation failed"
    if lost:  # only here the failed call's tensors are out of reach and can be freed
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()
        note = lost if limit_mib is None else f"more than {limit_mib:.0f} MiB"
        return CostPoint(method=name, per_side=side, status="out of memory", note=note)
    found = regions[0]
    return CostPoint(
        method=name,
        per_side=side,
        status="measured",
        seconds=statistics.median(seconds),
        peak_mib=peak,
        calls=len(seconds),
        regions=found if isinstance(found, int) else None,
    )


@contextlib.contextmanager
def safety_net(limit_mib: float | None) -> Iterator[None]:
    """Let allocations fail that would exhaust the machine, before the process is killed for them.

    The address space may grow by the limit and by half of what the machine has beyond it. How far
    it grows says nothing of memory in use: addresses that were mapped before are used again.
    Linux only; elsewhere, and with None, nothing is limited.
    """
    status = Path("/proc/self/statm")
    if limit_mib is None or not status.exists():
        yield
        return
    import resource

    used = int(status.read_text().split()[0]) * resource.getpagesize()
    beyond = max(0.0, (available_mib() or 0.0) - limit_mib)
    room = int((limit_mib + beyond / 2) * MIB)
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + room, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def available_mib(share: float = 1.0) -> float | None:
    """This share of the memory that can be had without swapping (Linux); None elsewhere."""
    info = Path("/proc/meminfo")
    if not info.exists():
        return None
    lines = dict(line.split(":", 1) for line in info.read_text().splitlines())
    return share * int(lines["MemAvailable"].split()[0]) / 1024


def _why_not(before: CostPoint | None, side: int, encoder: CostPoint | None, limits: Limits) -> str:
    """Why to skip a point, given the next smaller one; empty: measure it.

    Time is expected to grow in proportion to the number of prompts. The estimate is used for
    nothing else.
    """
    if before is None:
        return ""
    if before.seconds is None:
        return f"no figure at {before.per_side}x{before.per_side} ({before.note})"
    fixed = (encoder.seconds or 0.0) if encoder else 0.0
    growth = (side / before.per_side) ** 2
    expected = fixed + max(0.0, before.seconds - fixed) * growth
    if limits.seconds is not None and expected > limits.seconds:
        return f"time limit: {limits.seconds:.0f} s, about {expected:.0f} s expected"
    return ""


def _is_memory(err: BaseException) -> bool:
    text = str(err).lower()
    known = "can't allocate memory" in text or "not enough memory" in text
    return known or isinstance(err, (MemoryError, torch.OutOfMemoryError))
