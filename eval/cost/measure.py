"""What the region encoder costs: time and memory against the matrix products it cannot avoid."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from ren_core.aggregation import aggregate
from ren_core.prompts import grid_prompts
from ren_core.region_encoder import RegionEncoder

SAMPLE_SECONDS = 0.002  # how often the resident memory is read
MIB = 1 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class HeadCase:
    """Sizes of one call of the region encoder, for one image."""

    dim: int = 1024
    num_heads: int = 8
    num_layers: int = 4
    patch_grid: int = 37
    num_prompts: int = 1024
    image_size: int = 518


@dataclass(frozen=True, slots=True)
class HeadCost:
    """Measured cost of one case.

    Attributes:
        seconds: Median time of the head for one image.
        bare_seconds: Median time of its matrix products alone.
        ratio: Median of the paired ratios.
        peak_mib: Memory above what was there before the call; 0 if not measurable.
    """

    case: HeadCase
    seconds: float
    bare_seconds: float
    ratio: float
    peak_mib: float


@dataclass(frozen=True, slots=True)
class AggregationCost:
    """Time to merge N tokens, and of their similarity product alone."""

    num_tokens: int
    dim: int
    seconds: float
    bare_seconds: float
    ratio: float


def head_cost(case: HeadCase, device: torch.device, *, repeats: int = 7) -> HeadCost:
    """Time and memory of a head with random weights (cost does not depend on them), float32."""
    torch.manual_seed(0)
    head = RegionEncoder(case.dim, case.num_heads, case.num_layers).eval().to(device)
    features = torch.randn(1, case.dim, case.patch_grid, case.patch_grid, device=device)
    points = _spread_points(case).to(device)

    with torch.inference_mode():
        bare = BareProducts(case, device)
        seconds, bare_seconds, ratio = paired_times(
            lambda: head(features, points, case.image_size), bare.run, device, repeats
        )
        peak = peak_extra_mib(lambda: head(features, points, case.image_size), device)
    return HeadCost(case, seconds, bare_seconds, ratio, peak)


def aggregation_cost(
    num_tokens: int, dim: int, device: torch.device, *, repeats: int = 7
) -> AggregationCost:
    """Time to merge tokens that form about a hundred groups, float32."""
    tokens = grouped_tokens(num_tokens, dim, max(1, num_tokens // 14)).to(device)
    generator = torch.Generator().manual_seed(0)
    points = torch.randint(0, 518, (num_tokens, 2), generator=generator).to(device)

    unit = F.normalize(tokens, dim=-1)
    seconds, bare, ratio = paired_times(
        lambda: aggregate(tokens, points, 0.975), lambda: unit @ unit.T, device, repeats
    )
    return AggregationCost(num_tokens, dim, seconds, bare, ratio)


def grouped_tokens(num_tokens: int, dim: int, groups: int) -> Tensor:
    """Tokens (N, D) around ``groups`` centres: cosine about 0.99 inside a group, 0 between them."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn((groups, dim), generator=generator)
    noise = 0.1 * torch.randn((num_tokens, dim), generator=generator)
    return centres[torch.arange(num_tokens) % groups] + noise


class BareProducts:
    """The matrix products of one head call, on operands of the right shapes, and nothing else."""

    def __init__(self, case: HeadCase, device: torch.device) -> None:
        D, P, N = case.dim, case.patch_grid**2, case.num_prompts
        heads = case.num_heads
        self.layers = case.num_layers
        self.prompts = torch.randn(N, D, device=device)
        self.patches = torch.randn(P, D, device=device)
        self.square = torch.randn(D, D, device=device)
        self.up = torch.randn(D, 2 * D, device=device)
        self.hidden = torch.randn(N, 2 * D, device=device)
        self.down = torch.randn(2 * D, D, device=device)
        self.queries = torch.randn(heads, N, D // heads, device=device)
        self.keys = torch.randn(heads, D // heads, P, device=device)
        self.weights = torch.randn(heads, N, P, device=device)
        self.values = torch.randn(heads, P, D // heads, device=device)

    def run(self) -> None:
        """Prompt projection; then per block q, k, v, attention, output and MLP products."""
        self.prompts @ self.square
        for layer in range(self.layers):
            self.prompts @ self.square  # queries
            self.patches @ self.square  # keys
            if layer < self.layers - 1:
                self.patches @ self.square  # values; the last block has no projection
            self.queries @ self.keys
            self.weights @ self.values
            self.prompts @ self.square  # output
            self.prompts @ self.up
            self.hidden @ self.down


def paired_times(
    a: Callable[[], object], b: Callable[[], object], device: torch.device, repeats: int
) -> tuple[float, float, float]:
    """Median seconds of ``a`` and ``b``, called in turn after a warm-up, and of their ratio."""
    a_seconds, b_seconds = [], []
    for i in range(repeats + 2):
        times = [seconds_of(call, device) for call in (a, b)]
        if i >= 2:
            a_seconds.append(times[0])
            b_seconds.append(times[1])
    ratios = [x / y for x, y in zip(a_seconds, b_seconds, strict=True)]
    return (
        statistics.median(a_seconds),
        statistics.median(b_seconds),
        statistics.median(ratios),
    )


def peak_extra_mib(call: Callable[[], object], device: torch.device) -> float:
    """Peak memory in MiB during a call, above the memory before it.

    On CUDA: as the allocator counts. On the CPU: resident memory of the process, by Linux's own
    peak counter or, where that cannot be reset, by sampling. Exceptions of the call pass through.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        call()
        torch.cuda.synchronize(device)
        return (torch.cuda.max_memory_allocated(device) - before) / MIB
    _return_free_memory()
    before = resident_bytes()
    if forget_peak():
        call()
        return (_peak_bytes() - before) / MIB
    with _sampled_peak() as peak:
        call()
    return (peak() - before) / MIB


def forget_peak() -> bool:
    """Reset the peak counter of this process's resident memory; False if that is impossible."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def _peak_bytes() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


@contextlib.contextmanager
def _sampled_peak() -> Iterator[Callable[[], int]]:
    """Highest resident memory while in context; a peak shorter than a sample may be missed."""
    peak = resident_bytes()
    done = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(SAMPLE_SECONDS):
            peak = max(peak, resident_bytes())

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield lambda: peak
    finally:
        done.set()
        watcher.join()


def _return_free_memory() -> None:
    """Let the C allocator give freed blocks back, so that reusing them counts as memory."""
    gc.collect()
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):  # not glibc: the figure may be low
            ctypes.CDLL("libc.so.6").malloc_trim(0)


def resident_bytes() -> int:
    """Resident memory of this process (Linux); 0 elsewhere, where no figure is given."""
    status = Path("/proc/self/statm")
    return int(status.read_text().split()[1]) * 4096 if status.exists() else 0


def seconds_of(call: Callable[[], object], device: torch.device) -> float:
    """Wall seconds of one call, until the device has finished."""
    start = time.perf_counter()
    result = call()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    del result
    return time.perf_counter() - start


def _spread_points(case: HeadCase) -> Tensor:
    side = int(case.num_prompts**0.5)
    if side * side == case.num_prompts:
        return grid_prompts(case.image_size, side).points_yx[None]
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, case.image_size, (1, case.num_prompts, 2), generator=generator)
