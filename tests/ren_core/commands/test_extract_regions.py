"""Region masks of a folder: SAM 2 of the true architecture, random weights, 128 px, in shards."""

import json

import cv2
import numpy as np
import pytest
import torch

from ren_core.commands import extract_regions
from ren_core.sam2 import model as sam2_model
from ren_core.training import rle_store
from ren_core.training.rle_store import store_source

EVERY_MASK = ["--pred-iou-thresh", "0", "--stability-score-thresh", "0"]
NO_MASK = ["--pred-iou-thresh", "1"]


@pytest.fixture(scope="module")
def network():
    """Built once: the smallest SAM 2.1 for images of 128 px in place of 1024."""
    return sam2_model.Sam2Model.random("sam2.1_hiera_t", 0, device="cpu", image_size=128).network


@pytest.fixture(scope="module")
def checkpoint(network, tmp_path_factory):
    """A weight file in the official layout."""
    path = tmp_path_factory.mktemp("weights") / "tiny.pt"
    torch.save({"model": network.state_dict()}, path)
    return path


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    random = np.random.default_rng(1)
    for number in range(5):
        image = random.integers(0, 60, (40, 56, 3), np.uint8)
        image[10:30, 8 * number : 8 * number + 16] += 150
        cv2.imwrite(str(folder / f"{number}.png"), image)
    return folder


@pytest.fixture
def command(network, checkpoint, pictures, tmp_path, monkeypatch):
    """Arguments of a small job."""
    monkeypatch.setattr(sam2_model, "build_network", lambda *_: network)
    places = ["--images", str(pictures), "--out", str(tmp_path / "out")]
    model = ["--model", "sam2.1_hiera_t", "--checkpoint", str(checkpoint)]
    return [*places, *model, "--points-per-side", "1", "--shard-size", "2", "--limit", "3"]


def lines_of(store):
    shards = sorted(store.glob("*.jsonl"))
    return [json.loads(line) for shard in shards for line in shard.read_text().splitlines()]


def the_store(tmp_path):
    (store,) = (tmp_path / "out").iterdir()
    return store


def test_masks_are_stored_in_shards_and_can_be_read(command, tmp_path, capsys):
    assert extract_regions.main([*command, *EVERY_MASK]) == 0
    store = the_store(tmp_path)
    assert capsys.readouterr().out.strip() == str(store)
    assert sorted(s.name for s in store.glob("*.jsonl")) == [
        "regions-00000.jsonl",
        "regions-00001.jsonl",
    ]
    assert [line["image"][-5:] for line in lines_of(store)] == ["0.png", "1.png", "2.png"]
    source = store_source(store)
    read = [source.read(index) for index in range(3)]
    assert sum(len(region.masks) for region in read) > 0
    assert all(region.masks.shape[1:] == (40, 56) for region in read)
    settings = json.loads((store / "stage.json").read_text())["config"]["masks"]
    assert settings["model"] == "sam2.1_hiera_t"
    assert settings["generator"]["points_per_side"] == 1
    assert settings["generator"]["pred_iou_thresh"] == 0
    assert settings["generator"]["min_mask_region_area"] == 0


def test_a_killed_run_goes_on_with_the_next_shard(command, tmp_path, monkeypatch):
    read, seen = rle_store.read_image, []

    def dies_at_the_third(path):
        seen.append(path.name)
        if len(seen) == 3:
            raise KeyboardInterrupt
        return read(path)

    monkeypatch.setattr(rle_store, "read_image", dies_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        extract_regions.main([*command, *NO_MASK])
    store = the_store(tmp_path)
    first = store / "regions-00000.jsonl"
    assert [path.name for path in store.glob("*.jsonl")] == [first.name]
    assert not list(store.glob("*.partial"))
    kept = first.stat()

    assert extract_regions.main([*command, *NO_MASK]) == 0
    assert seen == ["0.png", "1.png", "2.png", "2.png"]
    assert first.stat().st_mtime_ns == kept.st_mtime_ns
    assert len(lines_of(store)) == 3
    assert extract_regions.main([*command, *NO_MASK]) == 0
    assert len(seen) == 4  # nothing left to do


def test_pictures_without_masks_stay_in_the_store(command, tmp_path):
    assert extract_regions.main([*command, *NO_MASK]) == 0
    store = the_store(tmp_path)
    assert [line["regions"] for line in lines_of(store)] == [[], [], []]
    region = store_source(store).read(1)
    assert region.image.shape == (40, 56, 3)
    assert region.masks.shape == (0, 40, 56)


def test_every_nth_picture_and_another_setting_is_another_store(command, tmp_path):
    assert extract_regions.main([*command, *NO_MASK, "--take-every", "2", "--limit", "2"]) == 0
    store = the_store(tmp_path)
    assert [line["image"][-5:] for line in lines_of(store)] == ["0.png", "2.png"]
    more = ["--take-every", "2", "--limit", "2", "--box-nms-thresh", "0.5"]
    assert extract_regions.main([*command, *NO_MASK, *more]) == 0
    assert len(list((tmp_path / "out").iterdir())) == 2


def test_mistakes_are_sentences(command, pictures, tmp_path, capsys):
    empty = tmp_path / "empty"
    empty.mkdir()
    assert extract_regions.main([*command, "--images", str(empty)]) == 1
    assert extract_regions.main([*command, "--checkpoint", str(tmp_path / "no.pt")]) == 1
    assert extract_regions.main([*command, "--box-nms-thresh", "2"]) == 2
    assert extract_regions.main([*command, "--points-per-side", "0"]) == 2
    lines = capsys.readouterr().err.splitlines()
    wanted = ("no pictures in", "no.pt", "0 <= box_nms_thresh <= 1; got 2.0 ", "points_per_side")
    assert len(lines) == len(wanted)
    assert all(text in line for text, line in zip(wanted, lines, strict=True))
    with pytest.raises(SystemExit) as stop:
        extract_regions.main([*command, "--points-per-sied", "4"])
    assert stop.value.code == 2


def test_other_weights_and_other_pictures_of_the_same_name_are_other_stores(
    command, network, pictures, tmp_path
):
    assert extract_regions.main([*command, *NO_MASK]) == 0
    weights = tmp_path / "other.pt"
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    next(iter(state.values())).add_(1)
    torch.save({"model": state}, weights)
    assert extract_regions.main([*command, *NO_MASK, "--checkpoint", str(weights)]) == 0
    assert len(list((tmp_path / "out").iterdir())) == 2
    cv2.imwrite(str(pictures / "0.png"), np.zeros((40, 56, 3), np.uint8))
    assert extract_regions.main([*command, *NO_MASK]) == 0
    assert len(list((tmp_path / "out").iterdir())) == 3


def test_subfolders_are_videos(command, pictures, tmp_path):
    for number, video in enumerate(("one", "one", "two")):
        (pictures / video).mkdir(exist_ok=True)
        (pictures / f"{number}.png").rename(pictures / video / f"{number}.png")
    for number in (3, 4):
        (pictures / f"{number}.png").unlink()
    assert extract_regions.main([*command, *NO_MASK]) == 0
    entries = store_source(the_store(tmp_path)).entries
    assert [entry.video for entry in entries] == ["one", "one", "two"]
