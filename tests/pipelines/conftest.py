"""An encoder small enough to run on real data."""

import pytest

from pipelines.shared import reid
from ren_core.encoders.catalog import build_encoder


@pytest.fixture
def small_encoder(monkeypatch):
    def build(name, *, input_size):
        options = {"depth": 1, "embed_dim": 48, "num_heads": 3}
        return build_encoder(name, pretrained=False, input_size=input_size, options=options)

    monkeypatch.setattr(reid, "build_encoder", build)
    return ["--encoder", "dinov2-vits14", "--input-size", "28", "--grid", "5", "--limit", "1"]
