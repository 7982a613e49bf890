"""Kinds of tokens made from the same features."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from eval.features import open_store
from eval.reid.sources import (
    build_tokenizer,
    fresh_head,
    head_source,
    patch_source,
    superpixel_source,
)
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
