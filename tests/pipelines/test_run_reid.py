"""The re-identification and whitening commands run on a little real data."""

import json

import numpy as np
import pytest

from pipelines import fit_whitening, run_reid
from pipelines.run_reid import query_window
from ren_core.encoders import catalog
from ren_core.encoders.catalog import build_encoder
from ren_core.encoders.embedded import load_composite
from ren_core.errors import ConfigError, DataError


def test_query_window_keeps_the_frames_shape_and_the_box():
    box = np.array([40, 20, 60, 30], np.float32)
    (x1, y1, x2, y2), inner = query_window(box, (100, 200))
    assert (x2 - x1) / (y2 - y1) == pytest.approx(2, abs=0.2)
    assert inner.tolist() == [40 - x1, 20 - y1, 60 - x1, 30 - y1]
    assert inner.min() >= 0
    at_corner, _ = query_window(np.array([190, 90, 220, 120], np.float32), (100, 200))
    assert at_corner[2:] == (200, 100)
    everything, _ = query_window(np.array([0, 0, 200, 100], np.float32), (100, 200))
    assert everything == (0, 0, 200, 100)


@pytest.mark.data
def test_figures_are_written(shared, tmp_path, monkeypatch):
    def small_encoder(name, *, input_size):
        options = {"depth": 1, "embed_dim": 48, "num_heads": 3}
        return build_encoder(name, pretrained=False, input_size=input_size, options=options)

    monkeypatch.setattr(run_reid, "build_encoder", small_encoder)
    out = tmp_path / "reid.json"
    command = ["--encoder", "dinov2-vits14", "--input-size", "28", "--data", str(shared / "data")]
    command += ["--limit", "1", "--frames", "1", "--gallery-step", "10", "--query", "centre"]
    assert run_reid.main([*command, "--out", str(out)]) == 0
    result = json.loads(out.read_text())
    assert {"frame_ap", "synvq_dev/hits", "realvq_dev/margin", "seconds_per_image"} <= set(
        result["figures"]
    )
    assert len(result["rows"]["davis_dev"]) == 3
    assert result["spec"]["input_size"] == 28
    assert result["figures"]["auc"] is None  # one video: nothing to tell it from
    assert run_reid.main([*command, "--sets", "synvq_dev", "--out", str(out)]) == 0
    assert set(json.loads(out.read_text())["rows"]) == {"synvq_dev"}


def test_missing_data_and_wrong_size_are_sentences(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(run_reid, "build_encoder", lambda *_, **__: _fail(DataError("no data")))
    assert run_reid.main([]) == 1
    monkeypatch.setattr(run_reid, "build_encoder", lambda *_, **__: _fail(ConfigError("size")))
    assert run_reid.main([]) == 2
    assert capsys.readouterr().err == "no data\nsize\n"


def _fail(error):
    raise error


def test_parts_are_parsed():
    part = fit_whitening.parse_part("mobilenet.13:64:0.7")
    assert (str(part.source), part.dim, part.weight) == ("mobilenet.13", 64, 0.7)
    with pytest.raises(ConfigError, match=r"'vit\.13'"):
        fit_whitening.parse_part("vit.13")


@pytest.mark.data
def test_whitening_is_fitted_and_written(shared, tmp_path, monkeypatch):
    monkeypatch.setattr(fit_whitening, "load_embedded", lambda *_, **__: None)  # random weights
    out = tmp_path / "whitening.safetensors"
    command = ["--data", str(shared / "data" / "train"), "--every", "200", "--input-size", "28"]
    command += ["--parts", "vit.1:16:1.0", "mobilenet.3:8:0.5", "--out", str(out)]
    assert fit_whitening.main(command) == 0
    shapes = {str(s): tuple(w.projection.shape) for s, w in load_composite(out).items()}
    assert shapes == {"vit.1": (384, 16), "mobilenet.3": (24, 8)}
    monkeypatch.setattr(catalog, "load_embedded", lambda *_, **__: None)
    encoder = run_reid.build_composite(out, input_size=28)
    assert (encoder.spec.name, encoder.spec.dim) == ("whitening", 24)
    assert fit_whitening.main([*command, "--data", str(tmp_path)]) == 1
    assert fit_whitening.main([*command, "--parts", "vit"]) == 2
