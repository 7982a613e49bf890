"""Kinds of tokens made from the same features, and the features that are kept."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from eval.features import FeatureStore, open_store, picture_key
from eval.reid.sources import (
    build_tokenizer,
    fresh_head,
    head_source,
    patch_source,
    superpixel_source,
)
from ren_core.encoders.base import EncoderSpec, fingerprint, normalise, squash
from ren_core.encoders.embedded import CompositeSources, EmbeddedEncoder, Source, Whitening
from ren_core.images import to_tensor
from ren_core.presets import RENConfig
from ren_core.prompts import grid_centres
from ren_core.regions import pool_labels
from tests.tiny import SPEC, TinyEncoder

PROMPTS = RENConfig(encoder="tiny", head="tiny", grid_size=5)


@pytest.fixture
def image():
    return np.random.default_rng(3).integers(0, 256, (40, 80, 3), dtype=np.uint8)


def test_every_row_comes_from_one_pass(image):
    store = open_store(TinyEncoder(), None)
    head = fresh_head(SPEC, "random", 1)
    sources = [
        patch_source("patch"),
        superpixel_source("superpixel", SPEC, PROMPTS),
        head_source(head, SPEC, PROMPTS, ren="ren", aligned="aligned", joined="both"),
        head_source(head, SPEC, PROMPTS, ren="alone"),
    ]
    found = build_tokenizer(store, sources)(image)
    assert list(found) == [name for source in sources for name in source.kinds]
    assert store.encoded == 1
    build_tokenizer(store, sources)(image)
    assert store.encoded == 1
    assert found["patch"].tokens.shape == (64, SPEC.dim)
    assert found["patch"].points_yx.tolist() == grid_centres(8, (40, 80)).tolist()
    assert found["patch"].cells == 8
    assert found["ren"].tokens.shape == found["aligned"].tokens.shape == (25, SPEC.dim)
    assert torch.equal(found["ren"].tokens, found["alone"].tokens)
    assert torch.allclose(found["aligned"].tokens, head.align(found["ren"].tokens), atol=1e-5)
    own, patches = found["both"].tokens.split(SPEC.dim, dim=1)
    assert torch.equal(own, F.normalize(found["ren"].tokens, dim=1))
    assert torch.allclose(patches[-1], F.normalize(found["patch"].tokens[-1], dim=0))
    first, last = found["ren"].points_yx[[0, -1]]
    assert first.tolist() == pytest.approx([1.5 * 40 / 56, 1.5 * 80 / 56])
    assert last.tolist() == pytest.approx([54.5 * 40 / 56, 54.5 * 80 / 56])


def test_superpixels_stand_for_their_pixels(image):
    image[:] = 0
    image[:, 40:] = 255
    source = superpixel_source("superpixel", SPEC, PROMPTS)
    features = {"patch": torch.zeros(1, 8, 8)}
    features["patch"][:, :, 4:] = 1
    found = source.make(image, features)["superpixel"]
    right = found.points_yx[:, 1] > 40
    assert 1 < len(found.tokens) <= 30
    assert torch.allclose(found.tokens[:, 0], torch.from_numpy(right).float(), atol=0.15)


def test_pooling_by_hand():
    features = torch.tensor([[[1.0, 2], [3, 4]]])
    labels = np.array([[0, 0, 0, 1], [0, 0, 1, 1], [2, 2, 2, 2], [2, 2, 2, 2]], np.int32)
    expected = torch.tensor([[(4 * 1 + 1 * 2) / 5], [2.0], [3.5]])
    assert torch.allclose(pool_labels(features, labels, 3), expected)
    pooled = pool_labels(features.bfloat16(), labels, 3)  # as autocast leaves them
    assert pooled.dtype == torch.float32
    assert torch.allclose(pooled, expected)


def test_heads_before_training_differ_by_start_and_seed(image):
    features = {"patch": torch.randn(SPEC.dim, 8, 8)}

    def tokens(start, seed):
        head = fresh_head(SPEC, start, seed)
        with torch.no_grad():
            return head_source(head, SPEC, PROMPTS, ren="x").make(image, features)["x"].tokens

    assert torch.equal(tokens("random", 1), tokens("random", 1))
    assert not torch.allclose(tokens("random", 1), tokens("random", 2))
    assert not torch.allclose(tokens("random", 1), tokens("local", 1))


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
