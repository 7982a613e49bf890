"""Region sources, prompts and their regions, the RLE store."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from ren_core.errors import ConfigError, DataError, ShapeError
from ren_core.images import list_image_tree
from ren_core.sam2.masks import Sam2MaskConfig, Sam2Masks
from ren_core.training.rle_store import decode_rle, encode_rle, extract_regions, store_source
from ren_core.training.samples import (
    PromptSampling,
    ViewSample,
    collate,
    draw_prompts,
    regions_of_view,
)
from ren_core.training.sources import (
    bsds_source,
    coco_source,
    label_folder_source,
    middle_region,
    picture_fingerprints,
    scene_source,
    subset,
    yolo_source,
)
from ren_core.training.views import plain_view
from tests.places import SHARED


def _picture(path, value=128, size_hw=(20, 30)):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((*size_hw, 3), value, np.uint8))


def _map(path, labels):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), labels.astype(np.uint8))


def _halves(left=1, right=2, size_hw=(20, 30)):
    labels = np.full(size_hw, right)
    labels[:, : size_hw[1] // 2] = left
    return labels


def test_bsds_annotators_are_variants(tmp_path):
    _picture(tmp_path / "images/train/7.jpg")
    _map(tmp_path / "segmentations/train/7_0.png", _halves())
    _map(tmp_path / "segmentations/train/7_1.png", _halves().T[:20, :20].repeat(2, 1)[:, :30])
    _picture(tmp_path / "images/train/8.jpg")  # without a segmentation
    source = bsds_source(tmp_path, ["train"])
    assert [entry.group for entry in source.entries] == ["train/7"]
    first = source.read(0)
    assert first.names.tolist() == [1, 2]
    assert first.masks.sum(axis=(1, 2)).tolist() == [300, 300]
    assert np.array_equal(source.read(0, variant=2).masks, first.masks)
    assert not np.array_equal(source.read(0, variant=1).masks, first.masks)


def test_label_folder_leaves_out_nothing_values_and_small_regions(tmp_path):
    labels = _halves(left=0, right=11)
    labels[:2, :2] = 5  # four pixels
    _picture(tmp_path / "images/a.png")
    _map(tmp_path / "labels/a.png", labels)
    read = label_folder_source(tmp_path / "images", tmp_path / "labels").read(0)
    assert read.names.tolist() == [11]
    void = label_folder_source(tmp_path / "images", tmp_path / "labels", nothing=(11,)).read(0)
    assert void.names.tolist() == [0]
    _map(tmp_path / "labels/a.png", labels[:10])
    with pytest.raises(DataError, match="10x30"):
        label_folder_source(tmp_path / "images", tmp_path / "labels").read(0)


def test_scenes_share_names_across_frames(tmp_path):
    for frame in range(3):
        _picture(tmp_path / f"s1/{frame:05d}.jpg")
        _map(tmp_path / f"s1/{frame:05d}.png", _halves(left=4, right=130))
    (tmp_path / "s1/truth.json").write_text("{}")
    _picture(tmp_path / "unfinished/00000.jpg")
    source = scene_source(tmp_path)
    assert [entry.group for entry in source.entries] == ["s1"] * 3
    assert all(source.read(i).names.tolist() == [4, 130] for i in range(3))
    with pytest.raises(DataError, match=r"truth\.json"):
        scene_source(tmp_path / "s1")


def test_yolo_polygons_smaller_on_top_and_missing_labels(tmp_path):
    _picture(tmp_path / "images/a.jpg", size_hw=(40, 40))
    _picture(tmp_path / "images/b.jpg", size_hw=(40, 40))
    (tmp_path / "labels").mkdir()
    small, large = "0 .25 .25 .75 .25 .75 .75 .25 .75", "3 0 0 1 0 1 1 0 1"
    (tmp_path / "labels/a.txt").write_text(f"{small}\n{large}\n\n")
    source = yolo_source(tmp_path / "images", tmp_path / "labels")
    both = source.read(0)
    assert both.names.tolist() == [0, 1]
    assert both.masks[0, 20, 20]
    assert not both.masks[1, 20, 20]
    assert both.masks[1, 2, 2]
    assert both.masks.sum() == 1600
    assert source.read(1).masks.shape == (0, 40, 40)
    (tmp_path / "labels/b.txt").write_text("0 .1 .1 .2 .2\n")
    with pytest.raises(DataError, match="at least 6"):
        yolo_source(tmp_path / "images", tmp_path / "labels").read(1)


def test_coco_polygons_rle_and_crowds(tmp_path):
    _picture(tmp_path / "im/a.jpg")
    _picture(tmp_path / "im/b.jpg")
    mask = np.zeros((20, 30), bool)
    mask[3:9, 4:20] = True
    annotations = [
        {"image_id": 2, "segmentation": [[0, 0, 10, 0, 10, 10, 0, 10]], "iscrowd": 0},
        {"image_id": 2, "segmentation": encode_rle(mask), "iscrowd": 0},
        {"image_id": 2, "segmentation": {"size": [20, 30], "counts": [100, 500]}, "iscrowd": 0},
        {"image_id": 2, "segmentation": [[0, 0, 9, 0, 9, 9]], "iscrowd": 1},
    ]
    images = [{"id": 2, "file_name": "a.jpg"}, {"id": 9, "file_name": "b.jpg"}]
    file = tmp_path / "instances.json"
    file.write_text(json.dumps({"images": images, "annotations": annotations}))
    source = coco_source(tmp_path / "im", file)
    read = source.read(0)
    assert len(read.masks) == 3
    assert read.masks[0].sum() == 100
    assert np.array_equal(read.masks[1], mask)
    assert read.masks[2].sum() == 500
    assert source.read(1).masks.shape == (0, 20, 30)
    with pytest.raises(DataError, match="instances"):
        coco_source(tmp_path / "im", tmp_path / "none.json")


def test_subset_takes_every_nth(tmp_path):
    for name in "abcd":
        _picture(tmp_path / f"{name}.jpg", value=ord(name))
    source = yolo_source(tmp_path, tmp_path)
    every_second = subset(source, 2)
    assert [entry.image.stem for entry in every_second.entries] == ["a", "c"]
    assert every_second.read(1).image[0, 0, 0] == pytest.approx(ord("c"), abs=2)
    assert subset(source, 1) is source


def test_the_mid_sized_region_of_nested_masks():
    masks = np.zeros((4, 8, 8), bool)
    for index, size in enumerate((8, 2, 6, 4)):
        masks[index, :size, :size] = True
    middle = middle_region(masks)
    # covered by 4 (sizes 2 4 6 8): number 2 is 6; by 3 (4 6 8): 6; by 2 (6 8): 8; by 1: 8
    assert middle[0, 0] == 2
    assert middle[3, 3] == 2
    assert middle[5, 5] == 0
    assert middle[7, 7] == 0
    assert (middle_region(np.zeros((0, 3, 3), bool)) == -1).all()


def test_regions_of_a_view_drop_what_is_out_of_sight():
    image = np.zeros((8, 8, 3), np.uint8)
    masks = np.zeros((2, 8, 8), bool)
    masks[1, :4] = True
    labels, names, coverage = regions_of_view(plain_view(image, masks, 8), np.array([3, 7]), 4)
    assert names.tolist() == [7]
    assert labels[0, 0] == 0
    assert labels[7, 7] == -1
    assert coverage[0, :2].min() == 255
    assert coverage[0, 2:].max() == 0


def test_prompt_sampling_options():
    labels = np.full((40, 40), -1, np.int16)
    labels[:10, :40] = 0
    labels[20:22, 0:10] = 1  # 20 pixels against 400
    flat = labels.ravel()

    def draw(**options):
        at = draw_prompts(labels, PromptSampling(**options), np.random.default_rng(0))
        return flat[at], at

    plain, at = draw(count=1600)
    assert len(np.unique(at)) == 1600  # without replacement
    assert (plain == -1).sum() == (flat == -1).sum()
    covered, _ = draw(count=300, null_prompts=False)
    assert (covered >= 0).all()
    assert 0 < (covered == 1).sum() < 60
    balanced, _ = draw(count=300, null_prompts=False, balance=1.0)
    assert 100 < (balanced == 1).sum() < 200
    nothing = draw_prompts(
        np.full((4, 4), -1, np.int16), PromptSampling(count=5), np.random.default_rng(0)
    )
    assert len(nothing) == 5
    with pytest.raises(ConfigError, match="balance"):
        PromptSampling(balance=2)


def test_collate_pools_regions_and_shares_names_in_a_group():
    labels = np.zeros((8, 8), np.int16)
    labels[:, 4:] = 1
    labels[7] = -1
    coverage = np.zeros((2, 2, 2), np.uint8)
    coverage[0, :, 0] = coverage[1, :, 1] = 255
    features = torch.arange(12.0).reshape(3, 2, 2)
    samples = [ViewSample(features, labels, np.array([5, 9]), coverage)] * 3
    batch = collate(samples, ["a", "a", "b"], PromptSampling(count=64), np.random.default_rng(0))
    y, x = batch.points_yx.unbind(-1)
    assert ((batch.region_ids < 0) == (y == 7)).all()
    left, right = (x < 4) & (y < 7), (x >= 4) & (y < 7)
    assert (batch.targets[left] == torch.tensor([1.0, 5, 9])).all()  # means of columns 0
    assert (batch.targets[right] == torch.tensor([2.0, 6, 10])).all()
    assert (batch.targets[y == 7] == 0).all()
    assert (batch.coverage[left] == torch.tensor([1.0, 0, 1, 0])).all()
    assert set(batch.region_ids[0].tolist()) == set(batch.region_ids[1].tolist())
    shared = set(batch.region_ids[0].tolist()) & set(batch.region_ids[2].tolist())
    assert shared == {-1}


def test_store_is_sharded_and_resumes_and_keeps_empty_pictures(tmp_path):
    pictures = []
    for index in range(5):
        pictures.append(tmp_path / f"im/{index}.png")
        _picture(pictures[-1], value=10 * index)
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
        extract_regions(pictures, make_masks, {"a": 1}, out=tmp_path, shard_size=2)
    fail = False
    store = extract_regions(pictures, make_masks, {"a": 1}, out=tmp_path, shard_size=2)
    assert calls == [0, 10, 20, 30, 20, 30, 40]  # the broken shard is done again, the first is not
    assert len(list(store.glob("regions-*.jsonl"))) == 3
    assert extract_regions(pictures, make_masks, {"a": 2}, out=tmp_path, shard_size=2) != store

    source = store_source(store)
    assert [entry.image.name for entry in source.entries] == [f"{i}.png" for i in range(5)]
    assert source.read(4).masks.sum() == 6 * 30
    assert source.read(2).masks.shape == (0, 20, 30)
    _picture(pictures[0], size_hw=(10, 10))
    with pytest.raises(DataError, match="10x10"):
        source.read(0)
    pictures[0].unlink()
    with pytest.raises(DataError, match="not there any more"):
        store_source(store)
    with pytest.raises(DataError, match="extract_regions"):
        store_source(tmp_path / "im")


def test_a_store_is_of_contents_and_places_not_of_names(tmp_path, monkeypatch):
    for folder, value in (("one", 10), ("two", 90)):
        _picture(tmp_path / folder / "im/0.png", value=value)
    seen = []

    def make_masks(image):
        seen.append(int(image[0, 0, 0]))
        return []

    stores = []
    for folder in ("one", "two"):  # the same relative path in both
        monkeypatch.chdir(tmp_path / folder)
        stores.append(extract_regions([Path("im/0.png")], make_masks, {}, out=tmp_path / "out"))
    extract_regions([tmp_path / "two/im/0.png"], make_masks, {}, out=tmp_path / "out")
    _picture(tmp_path / "two/im/0.png", value=200)
    stores.append(extract_regions([Path("im/0.png")], make_masks, {}, out=tmp_path / "out"))
    assert seen == [10, 90, 200]
    assert len(set(stores)) == 3
    assert len({str(store_source(store).settings) for store in stores}) == 2  # two share the path


def test_contents_name_every_file_but_no_folder(tmp_path):
    for folder in ("one", "two"):
        _picture(tmp_path / folder / "im/a.png")
        _map(tmp_path / folder / "maps/a.png", _halves())
    sources = [
        label_folder_source(tmp_path / f / "im", tmp_path / f / "maps") for f in ("one", "two")
    ]
    assert picture_fingerprints(sources[0]) == picture_fingerprints(sources[1])
    _map(tmp_path / "two/maps/a.png", _halves(left=3))
    assert picture_fingerprints(sources[0]) != picture_fingerprints(sources[1])
    (tmp_path / "two/im/a.png").unlink()
    with pytest.raises(DataError, match=r"two/im/a\.png is missing"):
        picture_fingerprints(sources[1])


def test_settings_of_a_source_are_what_its_files_do_not_say(tmp_path):
    _picture(tmp_path / "im/a.png")
    _map(tmp_path / "maps/a.png", _halves())
    maps = label_folder_source(tmp_path / "im", tmp_path / "maps")
    void = label_folder_source(tmp_path / "im", tmp_path / "maps", nothing=(2,))
    assert maps.settings != void.settings
    assert subset(maps, 2).settings == maps.settings
    file = tmp_path / "instances.json"
    settings = []
    for area in (1, 2):
        file.write_text(json.dumps({"images": [], "annotations": [{"image_id": area}]}))
        settings.append(coco_source(tmp_path / "im", file).settings)
    assert settings[0] != settings[1]


def test_a_store_knows_the_video_of_every_picture(tmp_path):
    for name in ("a/0.png", "a/5.png", "b/c/0.png", "z.png", ".hidden/0.png", "b/.1.png"):
        _picture(tmp_path / "im" / name)
    pictures = list_image_tree(tmp_path / "im")
    places = [picture.relative_to(tmp_path / "im").as_posix() for picture in pictures]
    assert places == ["a/0.png", "a/5.png", "b/c/0.png", "z.png"]
    store = extract_regions(pictures, lambda _: [], {}, out=tmp_path, root=tmp_path / "im")
    entries = store_source(store).entries
    assert [entry.video for entry in entries] == ["a", "a", "b/c", ""]
    assert len({entry.group for entry in entries}) == 4
    assert extract_regions(pictures, lambda _: [], {}, out=tmp_path) != store
    with pytest.raises(DataError, match="no folder"):
        list_image_tree(tmp_path / "nowhere")


def test_rle_round_trip():
    mask = np.random.default_rng(0).random((13, 7)) > 0.5
    rle = encode_rle(mask)
    assert json.loads(json.dumps(rle)) == rle
    assert np.array_equal(decode_rle(rle), mask)


def test_sam2_arguments_are_checked():
    with pytest.raises(TypeError, match="stability_thresh"):
        Sam2MaskConfig(stability_thresh=0.9)
    with pytest.raises(ConfigError, match="stability_score_thresh"):
        Sam2MaskConfig(stability_score_thresh=90)
    with pytest.raises(ConfigError, match="points_per_side"):
        Sam2MaskConfig(points_per_side=0)


def test_sam2_takes_uint8_only():
    pytest.importorskip("sam2")
    masks = object.__new__(Sam2Masks)
    with pytest.raises(ShapeError, match="uint8"):
        masks(np.zeros((8, 8, 3), np.float32))


@pytest.mark.data
@pytest.mark.skipif(not (SHARED / "data/train").is_dir(), reason="needs ../shared/data/train")
def test_real_folders_are_readable():
    bsds = bsds_source(SHARED / "data/train/bsds500")
    assert len(bsds.entries) == 500
    assert len(bsds.read(0).masks) >= 2
    coco = SHARED / "data/train/coco128_seg"
    yolo = yolo_source(coco / "images/train2017", coco / "labels/train2017")
    assert len(yolo.entries) == 128
    assert sum(len(yolo.read(i).masks) for i in range(0, 128, 16)) > 8
