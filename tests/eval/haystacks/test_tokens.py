"""Tokens of a benchmark's images, encoded once, and their similarities to texts."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from eval.haystacks import tokens as haystack_tokens
from eval.haystacks.tokens import encode_images, similarity_tables, token_path
from ren_core.errors import ConfigError
from ren_core.transfer import TransferredRegions


class CountingEncode:
    """Two or three regions made of a picture's mean colour; breaks after ``limit`` pictures."""

    def __init__(self, limit=1000):
        self.seen, self.limit = 0, limit

    def __call__(self, images):
        self.seen += len(images)
        if self.seen > self.limit:
            raise KeyboardInterrupt
        return [self.regions(image.float().mean((1, 2))) for image in images]

    @staticmethod
    def regions(colour):
        generator = torch.Generator().manual_seed(int(colour.sum()))
        count = 2 + int(colour.sum()) % 2
        tokens = torch.randn(1 + count, 5, generator=generator) * 7
        return TransferredRegions(tokens[1:], torch.arange(count), tokens[0])


@pytest.fixture
def pictures(tmp_path):
    files = {}
    for i in range(5):
        picture = np.full((8, 9, 3), (20 * i, 5, 200 - i), np.uint8)
        files[f"train2017/{i}.png"] = tmp_path / f"{i}.png"
        cv2.imwrite(str(tmp_path / f"{i}.png"), picture)
    return files


def test_images_are_encoded_once_and_a_killed_run_goes_on(pictures, tmp_path):
    store = tmp_path / "store"
    with pytest.raises(KeyboardInterrupt):
        encode_images(pictures, CountingEncode(limit=3), store=store, batch=2)
    assert len(list(store.rglob("*.safetensors"))) == 2
    resumed = CountingEncode()
    assert encode_images(pictures, resumed, store=store, batch=2) == 3
    assert resumed.seen == 3
    again = CountingEncode()
    assert encode_images(pictures, again, store=store) == again.seen == 0
    assert not list(store.rglob("*.partial"))
    other = tmp_path / "other"
    assert encode_images(pictures, CountingEncode(), store=other, batch=5) == 5
    for name, file in pictures.items():
        first, second = (token_path(s, name, file).read_bytes() for s in (store, other))
        assert first == second
    with pytest.raises(ConfigError, match="at least 1"):
        encode_images(pictures, again, store=store, batch=0)


def test_a_file_that_breaks_off_while_written_leaves_nothing(pictures, tmp_path, monkeypatch):
    def half(tensors, path):
        path.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(haystack_tokens, "save_file", half)
    with pytest.raises(OSError, match="disk full"):
        encode_images(pictures, CountingEncode(), store=tmp_path / "store")
    assert not [p for p in (tmp_path / "store").rglob("*") if p.is_file()]


def test_another_picture_of_the_same_name_has_other_tokens(pictures, tmp_path):
    name, file = next(iter(pictures.items()))
    before = token_path(tmp_path, name, file)
    assert token_path(tmp_path, "val2017/0.png", file) != before
    with file.open("ab") as more:
        more.write(b" ")
    assert token_path(tmp_path, name, file) != before


def test_similarities_are_cosines_of_the_best_region(pictures, tmp_path):
    store, encode = tmp_path / "store", CountingEncode()
    encode_images(pictures, encode, store=store)
    generator = torch.Generator().manual_seed(1)
    vectors = torch.nn.functional.normalize(torch.randn(3, 5, generator=generator), dim=1)
    texts = dict(zip(("x", "y", "z"), vectors, strict=True))
    by_region, by_image = similarity_tables(pictures, texts, store)
    for name, file in pictures.items():
        colour = torch.from_numpy(cv2.imread(str(file))[0, 0, ::-1].astype(np.float32))
        regions = encode.regions(colour)
        for text, vector in texts.items():
            cosines = torch.cosine_similarity(regions.tokens, vector[None])
            found = by_region.of([name], text)[0]
            assert found == pytest.approx(cosines.max().item(), abs=2e-3)
            whole = torch.cosine_similarity(regions.image_token, vector, dim=0)
            assert by_image.of([name], text)[0] == pytest.approx(whole.item(), abs=2e-3)
        stored = load_file(token_path(store, name, file))["tokens"]
        assert stored.dtype == torch.float16
        assert len(stored) == 1 + len(regions.tokens)
