"""Modules are converted for OpenVINO once; what is read back is the same, and never stale."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from ren_core.engine import converted as conversion
from ren_core.engine.compiled import CompiledModule
from ren_core.engine.region_networks import _Features
from ren_core.model import REN
from tests.tiny import TinyEncoder

pytest.importorskip("openvino")
pytestmark = pytest.mark.engine


@pytest.fixture
def conversions(monkeypatch, tmp_path):
    """The modules that were converted, not read, with a folder of its own."""
    monkeypatch.setattr(conversion, "cache_dir", lambda: tmp_path)
    convert, done = conversion._convert, []

    def counted(module, inputs):
        done.append(module)
        return convert(module, inputs)

    monkeypatch.setattr(conversion, "_convert", counted)
    return done


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU())


def image(side=8):
    return torch.rand((1, 3, side, side), generator=torch.Generator().manual_seed(1))


def output(module, side=8):
    return CompiledModule(module, dtype=torch.float32, free_axes=[(0,)])(image(side)).numpy()


def test_a_module_is_converted_once_and_read_back_the_same(conversions):
    first, second = output(network()), output(network())
    assert len(conversions) == 1
    assert np.array_equal(first, second)
    with torch.no_grad():
        assert np.abs(first - network()(image()).numpy()).max() < 1e-5


@pytest.mark.weights
def test_the_process_that_converts_computes_the_same_digits(conversions):
    def features():
        ren = REN.from_pretrained("embedded", input_size=168, engine="openvino")
        return ren.patch_features(image(100)).features

    first, second = features(), features()
    assert len(conversions) == 1
    assert torch.equal(first, second)


@pytest.mark.parametrize(
    "other",
    [
        lambda: output(network(seed=2)),
        lambda: output(network(), side=16),
        lambda: output(nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.GELU())),
        lambda: output(nn.Sequential(network()[0], nn.LeakyReLU(0.1))),
    ],
    ids=["parameters", "sizes", "types", "attributes"],
)
def test_another_module_is_another_model(conversions, other):
    output(nn.Sequential(network()[0], nn.LeakyReLU(0.2)))
    output(network())
    other()
    assert len(conversions) == 3


def test_a_module_whose_code_is_not_known_is_converted_every_time(conversions, tmp_path):
    for _ in range(2):
        conversion.converted(_Features(TinyEncoder()), [torch.zeros(1, 3, 56, 56)])
    assert len(conversions) == 2
    assert not (tmp_path / "converted").exists()


def test_a_damaged_file_is_made_anew(conversions, tmp_path):
    expected = output(network())
    (path,) = (tmp_path / "converted").glob("*/model.xml")
    path.write_text("<net")
    assert np.array_equal(output(network()), expected)
    assert len(conversions) == 2


def test_old_models_go(conversions, tmp_path, monkeypatch):
    monkeypatch.setattr(conversion, "MOST_KEPT", 2)
    for seed in range(4):
        output(network(seed))
    assert len(list((tmp_path / "converted").iterdir())) == 2
