"""The engine fits the machine, and nothing that does not fit is accepted."""

from __future__ import annotations

import pytest
import torch

from ren_core.engine import choice
from ren_core.engine.choice import choose_compute
from ren_core.errors import ConfigError

BF16, FP16, FP32 = torch.bfloat16, torch.float16, torch.float32


@pytest.fixture
def machine(monkeypatch):
    """A machine with or without OpenVINO and bfloat16 instructions, of processor and GPU."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32

    def make(*, openvino=True, bfloat16=True):
        spec = object() if openvino else None
        monkeypatch.setattr(choice.importlib.util, "find_spec", lambda name: spec)
        monkeypatch.setattr(choice, "has_bfloat16", lambda: bfloat16)
        monkeypatch.setattr(choice, "gpu_has_bfloat16", lambda: bfloat16)

    yield make
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


@pytest.mark.parametrize(
    ("openvino", "bfloat16", "device", "suits_openvino", "expected"),
    [
        (True, True, "cpu", True, ("openvino", BF16)),
        (True, False, "cpu", True, ("openvino", FP32)),
        (False, True, "cpu", True, ("torch", FP32)),
        (True, True, "cpu", False, ("torch", FP32)),
        (True, True, "cuda", True, ("torch", BF16)),
        (True, True, "cuda:1", False, ("torch", BF16)),
        (True, False, "cuda", True, ("torch", FP32)),
    ],
)
def test_the_machine_decides_what_is_left_open(
    machine, openvino, bfloat16, device, suits_openvino, expected
):
    machine(openvino=openvino, bfloat16=bfloat16)
    found = choose_compute(None, device, None, suits_openvino=suits_openvino)
    assert (found.engine, found.dtype) == expected
    assert found.device == torch.device(device)


@pytest.mark.parametrize(
    ("engine", "dtype", "expected"),
    [
        ("torch", None, ("torch", FP32)),
        ("torch", BF16, ("torch", BF16)),
        ("openvino", FP32, ("openvino", FP32)),
        (None, FP32, ("openvino", FP32)),
        (None, FP16, ("torch", FP16)),
    ],
)
def test_the_user_has_the_last_word(machine, engine, dtype, expected):
    machine()
    found = choose_compute(engine, "cpu", dtype, suits_openvino=True)
    assert (found.engine, found.dtype) == expected


@pytest.mark.parametrize(
    ("state", "device", "dtype", "says"),
    [
        ({"openvino": False}, "cpu", None, "openvino is not installed; give --engine torch"),
        ({}, "cuda", None, "runs on processors, not on cuda; give --device cpu"),
        ({}, "cpu", FP16, "not in float16; give --dtype float32"),
        ({"bfloat16": False}, "cpu", BF16, "has no bfloat16 instructions.*give --dtype float32"),
    ],
)
def test_what_cannot_run_is_refused(machine, state, device, dtype, says):
    machine(**state)
    with pytest.raises(ConfigError, match=says):
        choose_compute("openvino", device, dtype, suits_openvino=True)


@pytest.mark.parametrize(
    ("device", "dtype", "tf32"),
    [
        ("cuda", None, (True, True)),
        ("cuda", FP32, (False, False)),
        ("cuda", FP16, (True, True)),
        ("cpu", BF16, (False, True)),  # as they were: torch's own
    ],
)
def test_products_are_rounded_where_the_networks_are(machine, device, dtype, tf32):
    machine()
    choose_compute(None, device, dtype, suits_openvino=False)
    backends = torch.backends
    assert (backends.cuda.matmul.allow_tf32, backends.cudnn.allow_tf32) == tf32


def test_torch_compiles_for_a_gpu_only(machine):
    machine()
    assert choose_compute(None, "cuda", None, suits_openvino=False, compiled=True).compiled
    assert not choose_compute(None, "cuda", None, suits_openvino=False).compiled
    with pytest.raises(ConfigError, match="--compile is for a GPU, not for cpu"):
        choose_compute(None, "cpu", None, suits_openvino=True, compiled=True)


def test_exact_products_end_where_they_began(machine):
    choice.round_products(True)
    with choice.exact_products():
        assert not torch.backends.cuda.matmul.allow_tf32
    assert torch.backends.cuda.matmul.allow_tf32
