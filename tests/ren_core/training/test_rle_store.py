"""Stores of region masks: shards, resuming, identity, videos."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ren_core.errors import DataError
from ren_core.executor.here import InProcess
from ren_core.images import list_image_tree
from ren_core.training.rle_store import (
    ShardWriter,
    decode_rle,
    encode_rle,
    extract_regions,
    store_source,
)
from tests.training_cases import write_picture


def by(make_masks):
    """Workers in this process."""
    return InProcess(ShardWriter(make_masks))


def test_store_is_sharded_and_resumes_and_keeps_empty_pictures(tmp_path):
    pictures = []
    for index in range(5):
        pictures.append(tmp_path / f"im/{index}.png")
        write_picture(pictures[-1], value=10 * index)
    calls = []

    def make_masks(image):
        calls.append(int(image[0, 0, 0]))
        if image[0, 0, 0] == 20:
            return []
        mask = np.zeros(image.shape[:2], bool)
        mask[: 2 + image[0, 0, 0] // 10] = True
        if len(calls) == 4 and fail:
            raise KeyboardInterrupt
        return [encode_rle(mask)]

    fail = True
    with pytest.raises(KeyboardInterrupt):
        extract_regions(pictures, by(make_masks), {"a": 1}, out=tmp_path, shard_size=2)
    fail = False
    store = extract_regions(pictures, by(make_masks), {"a": 1}, out=tmp_path, shard_size=2)
    assert calls == [0, 10, 20, 30, 20, 30, 40]  # the broken shard is done again, the first is not
    assert len(list(store.glob("regions-*.jsonl"))) == 3
    assert extract_regions(pictures, by(make_masks), {"a": 2}, out=tmp_path, shard_size=2) != store

    source = store_source(store)
    assert [entry.image.name for entry in source.entries] == [f"{i}.png" for i in range(5)]
    assert source.read(4).masks.sum() == 6 * 30
    assert source.read(2).masks.shape == (0, 20, 30)
    write_picture(pictures[0], size_hw=(10, 10))
    with pytest.raises(DataError, match="10x10"):
        source.read(0)
    pictures[0].unlink()
    with pytest.raises(DataError, match="not there any more"):
        store_source(store)
    with pytest.raises(DataError, match="extract-regions"):
        store_source(tmp_path / "im")


def test_a_store_is_of_contents_and_places_not_of_names(tmp_path, monkeypatch):
    for folder, value in (("one", 10), ("two", 90)):
        write_picture(tmp_path / folder / "im/0.png", value=value)
    seen = []

    def make_masks(image):
        seen.append(int(image[0, 0, 0]))
        return []

    stores = []
    for folder in ("one", "two"):  # the same relative path in both
        monkeypatch.chdir(tmp_path / folder)
        stores.append(extract_regions([Path("im/0.png")], by(make_masks), {}, out=tmp_path / "out"))
    extract_regions([tmp_path / "two/im/0.png"], by(make_masks), {}, out=tmp_path / "out")
    write_picture(tmp_path / "two/im/0.png", value=200)
    stores.append(extract_regions([Path("im/0.png")], by(make_masks), {}, out=tmp_path / "out"))
    assert seen == [10, 90, 200]
    assert len(set(stores)) == 3
    assert len({str(store_source(store).settings) for store in stores}) == 2  # two share the path


def test_a_store_knows_the_video_of_every_picture(tmp_path):
    for name in ("a/0.png", "a/5.png", "b/c/0.png", "z.png", ".hidden/0.png", "b/.1.png"):
        write_picture(tmp_path / "im" / name)
    pictures = list_image_tree(tmp_path / "im")
    places = [picture.relative_to(tmp_path / "im").as_posix() for picture in pictures]
    assert places == ["a/0.png", "a/5.png", "b/c/0.png", "z.png"]
    store = extract_regions(pictures, by(lambda _: []), {}, out=tmp_path, root=tmp_path / "im")
    entries = store_source(store).entries
    assert [entry.video for entry in entries] == ["a", "a", "b/c", ""]
    assert len({entry.group for entry in entries}) == 4
    assert extract_regions(pictures, by(lambda _: []), {}, out=tmp_path) != store
    with pytest.raises(DataError, match="no folder"):
        list_image_tree(tmp_path / "nowhere")


def test_rle_round_trip():
    mask = np.random.default_rng(0).random((13, 7)) > 0.5
    rle = encode_rle(mask)
    assert json.loads(json.dumps(rle)) == rle
    assert np.array_equal(decode_rle(rle), mask)
