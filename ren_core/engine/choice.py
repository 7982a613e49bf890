"""Which engine and precision fit a machine: the processor is asked, the user has the last word."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import torch

from ren_core.errors import ConfigError

EngineName = Literal["torch", "openvino"]
CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True)
class Compute:
    """What computes networks; it is part of the identity of what they compute.

    Attributes:
        engine: ``"openvino"`` is for processors only.
        device: Of torch.
        dtype: float32, or what the networks are rounded to.
        compiled: Torch compiles encoder and head: it fuses steps, and so rounds less often.
    """

    engine: EngineName = "torch"
    device: torch.device = CPU
    dtype: torch.dtype = torch.float32
    compiled: bool = False

    def __str__(self) -> str:
        name = {"torch": "torch", "openvino": "OpenVINO"}[self.engine]
        how = ", compiled" if self.compiled else ""
        return f"{name}, {str(self.dtype).removeprefix('torch.')}{how}, on {self.device}"


def autocast(device: torch.device, dtype: torch.dtype) -> torch.autocast:
    """Torch's networks rounded to a type inside; float32 changes nothing."""
    enabled = dtype != torch.float32
    return torch.autocast(device.type, dtype if enabled else None, enabled=enabled)


def choose_compute(
    engine: EngineName | None,
    device: torch.device | str,
    dtype: torch.dtype | None,
    *,
    suits_openvino: bool,
    compiled: bool = False,
) -> Compute:
    """Fill in what a user left open, and let CUDA round float32 products where that is part of it.

    Args:
        engine: None: OpenVINO on a processor, if it is there and ``suits_openvino``; else torch.
        device: Of torch.
        dtype: None: bfloat16 on a GPU that has its instructions, and with OpenVINO on a processor
            that has them; else float32.
        suits_openvino: Whether the networks are known to gain from OpenVINO.
        compiled: Whether torch shall compile encoder and head.

    Raises:
        ConfigError: If the engine cannot run on that device or in that precision.
    """
    device = torch.device(device)
    if compiled and device.type != "cuda":
        raise ConfigError(
            f"--compile is for a GPU, not for {device}; leave it out (on a processor --engine "
            "openvino compiles)"
        )
    is_there = importlib.util.find_spec("openvino") is not None
    if engine is None:
        suits = device.type == "cpu" and is_there and suits_openvino and dtype != torch.float16
        engine = "openvino" if suits else "torch"
    elif engine == "openvino":
        _check_openvino(device, dtype, is_there=is_there)
    if dtype is None:
        is_gpu = device.type == "cuda"
        rounds = gpu_has_bfloat16() if is_gpu else engine == "openvino" and has_bfloat16()
        dtype = torch.bfloat16 if rounds else torch.float32
    if engine == "openvino" and dtype == torch.bfloat16 and not has_bfloat16():
        raise ConfigError(
            "this processor has no bfloat16 instructions, so OpenVINO would compute in float32; "
            "give --dtype float32"
        )
    if device.type == "cuda":
        round_products(dtype != torch.float32)
    return Compute(engine, device, dtype, compiled)


def round_products(is_on: bool) -> None:
    """Whether CUDA may round the inputs of float32 products to 10 bits (TF32), which is faster.

    What autocast leaves in float32 is computed so; whoever asks for float32 gets all of its bits.
    """
    torch.backends.cuda.matmul.allow_tf32 = is_on
    torch.backends.cudnn.allow_tf32 = is_on


@contextmanager
def exact_products() -> Iterator[None]:
    """Float32 products with all of their bits while this lasts, also on a GPU."""
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


def gpu_has_bfloat16() -> bool:
    """Whether the GPU has bfloat16 instructions; older ones imitate them slowly."""
    return torch.cuda.is_bf16_supported(including_emulation=False)


@cache
def has_bfloat16() -> bool:
    """Whether OpenVINO finds bfloat16 instructions in this processor."""
    return "BF16" in core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


@cache
def core() -> Any:  # noqa: ANN401 - an openvino.Core
    """OpenVINO's entry."""
    import openvino  # not installed on every machine

    return openvino.Core()


def _check_openvino(device: torch.device, dtype: torch.dtype | None, *, is_there: bool) -> None:
    if not is_there:
        raise ConfigError("--engine openvino: openvino is not installed; give --engine torch")
    if device.type != "cpu":
        raise ConfigError(
            f"--engine openvino runs on processors, not on {device}; give --device cpu, or leave "
            "--engine out"
        )
    if dtype == torch.float16:
        raise ConfigError(
            "--engine openvino computes in float32 or bfloat16 here, not in float16; give --dtype "
            "float32 or bfloat16"
        )
