"""Devices without doubles (MPS): numbers in float64 are made on the CPU only."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ren_core.aggregation import aggregate
from ren_core.prompts import to_image_points, user_prompts
from vq2d.masking.sam2_video import model_input


@pytest.fixture(autouse=True)
def no_doubles_elsewhere(monkeypatch):
    """Every tensor counts as one of a device without doubles, until it is brought to the CPU."""
    cpu, double = torch.Tensor.cpu, torch.Tensor.double

    def to_cpu(tensor):
        home = cpu(tensor).clone()
        home.is_home = True
        return home

    def to_double(tensor):
        if not getattr(tensor, "is_home", False):
            raise TypeError("this device has no float64")
        return double(tensor)

    monkeypatch.setattr(torch.Tensor, "cpu", to_cpu)
    monkeypatch.setattr(torch.Tensor, "double", to_double)


def test_the_fixture_refuses_doubles():
    with pytest.raises(TypeError, match="no float64"):
        torch.ones(2).double()


def test_tokens_are_merged():
    points = torch.tensor([[0, 0], [0, 2], [0, 9]])
    groups = aggregate(torch.tensor([[1.0, 0], [1, 0.01], [1, 0]]), points, 0.9, 3)
    assert groups.points_yx.tolist() == [[0, 2]]


def test_prompts_are_placed():
    prompts = user_prompts(torch.tensor([[3.0, 9.0]]), (10, 20), 40)
    assert to_image_points(prompts.points_yx, 40, (10, 20)).tolist() == [[3.625, 9.75]]


def test_frames_are_prepared_for_sam2(monkeypatch):
    made = []
    from_numpy = torch.from_numpy

    def on_cpu(array):  # a tensor from memory is on the CPU before it is sent anywhere
        made.append(from_numpy(array))
        made[-1].is_home = True
        return made[-1]

    monkeypatch.setattr(torch, "from_numpy", on_cpu)
    monkeypatch.setattr(torch.Tensor, "permute", keep_home(torch.Tensor.permute))
    pixels = model_input(np.full((8, 8, 3), 128, np.uint8), 4, torch.device("cpu"))
    assert pixels.shape == (1, 3, 4, 4)
    assert made


def keep_home(method):
    def kept(tensor, *args):
        result = method(tensor, *args)
        result.is_home = getattr(tensor, "is_home", False)
        return result

    return kept
