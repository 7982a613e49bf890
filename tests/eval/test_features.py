"""Features that are encoded once and kept."""

import numpy as np
import pytest
import torch

from eval.features import FeatureStore, open_store, picture_key
from ren_core.encoders.base import EncoderSpec, fingerprint, normalise, squash
from ren_core.encoders.embedded import CompositeSources, EmbeddedEncoder, Source, Whitening
from ren_core.images import to_tensor
from tests.tiny import TinyEncoder


@pytest.fixture
def image():
    return np.random.default_rng(3).integers(0, 256, (40, 80, 3), dtype=np.uint8)


def test_features_outlive_the_run_and_belong_to_the_weights(image, tmp_path):
    first = open_store(TinyEncoder(), tmp_path)
    features = first(image)["patch"]
    again = open_store(TinyEncoder(), tmp_path)
    assert torch.equal(again(image)["patch"], features)
    assert (first.encoded, again.encoded) == (1, 0)
    assert features.dtype == torch.float32
    other = TinyEncoder()
    other.conv.bias.data += 1
    changed = open_store(other, tmp_path)
    assert not torch.allclose(changed(image)["patch"], features)
    assert changed.encoded == 1
    assert not list(tmp_path.rglob("*.partial"))


def test_a_failed_encoding_leaves_nothing(image, tmp_path):
    def fail(_):
        raise RuntimeError("stop")

    store = FeatureStore(fail, tmp_path)
    with pytest.raises(RuntimeError):
        store(image)
    assert not list(tmp_path.rglob("*.safetensors"))


def test_keys_tell_pictures_apart(image):
    assert picture_key(image) == picture_key(image.copy())
    assert picture_key(image) != picture_key(image.reshape(80, 40, 3))
    assert picture_key(image) != picture_key(np.ascontiguousarray(image[::-1]))


def small_composite():
    """Block 1 of the ViT and layer 1 of MobileNetV2 with random weights and statistics."""
    torch.manual_seed(2)
    vit, mobilenet = Source("vit", 1), Source("mobilenet", 1)
    composite = {
        vit: Whitening(torch.randn(384), torch.randn(384, 12), 1.0),
        mobilenet: Whitening(torch.randn(16), torch.randn(16, 4), 0.5),
    }
    spec = EncoderSpec(name="small", input_size=28, patch_size=14, dim=16, whitened=True)
    return EmbeddedEncoder(spec, CompositeSources((vit, mobilenet), 28), composite)


def test_embedded_pictures_are_also_kept_raw(image):
    encoder = small_composite()
    features = open_store(encoder, None)(image)
    batch = to_tensor(image)[None].float() / 255
    assert torch.allclose(features["patch"], encoder(batch).features[0], atol=2e-3)
    layers = encoder.sources(normalise(squash(batch, 28), encoder.spec))
    parts = features["raw"].split([384, 16])
    for part, layer, weight in zip(parts, layers.values(), encoder.weights, strict=True):
        assert torch.allclose(part.norm(dim=0), torch.tensor(weight).float(), rtol=1e-2)
        assert torch.cosine_similarity(part, layer[0], dim=0).min() > 0.999


def test_fingerprint_includes_the_whitening():
    encoder = small_composite()
    before = fingerprint([encoder], 56)
    assert fingerprint([small_composite()], 56) == before
    encoder.mean0 += 1
    assert fingerprint([encoder], 56) != before
