"""Region sources: what each reads, and what identifies it."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ren_core.errors import DataError
from ren_core.training.rle_store import encode_rle
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
from tests.places import SHARED
from tests.training_cases import write_labels, write_picture


def _halves(left=1, right=2, size_hw=(20, 30)):
    labels = np.full(size_hw, right)
    labels[:, : size_hw[1] // 2] = left
    return labels


def test_bsds_annotators_are_variants(tmp_path):
    write_picture(tmp_path / "images/train/7.jpg")
    write_labels(tmp_path / "segmentations/train/7_0.png", _halves())
    write_labels(
        tmp_path / "segmentations/train/7_1.png", _halves().T[:20, :20].repeat(2, 1)[:, :30]
    )
    write_picture(tmp_path / "images/train/8.jpg")  # without a segmentation
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
    write_picture(tmp_path / "images/a.png")
    write_labels(tmp_path / "labels/a.png", labels)
    read = label_folder_source(tmp_path / "images", tmp_path / "labels").read(0)
    assert read.names.tolist() == [11]
    void = label_folder_source(tmp_path / "images", tmp_path / "labels", nothing=(11,)).read(0)
    assert void.names.tolist() == [0]
    write_labels(tmp_path / "labels/a.png", labels[:10])
    with pytest.raises(DataError, match="10x30"):
        label_folder_source(tmp_path / "images", tmp_path / "labels").read(0)


def test_scenes_share_names_across_frames(tmp_path):
    for frame in range(3):
        write_picture(tmp_path / f"s1/{frame:05d}.jpg")
        write_labels(tmp_path / f"s1/{frame:05d}.png", _halves(left=4, right=130))
    (tmp_path / "s1/truth.json").write_text("{}")
    write_picture(tmp_path / "unfinished/00000.jpg")
    source = scene_source(tmp_path)
    assert [entry.group for entry in source.entries] == ["s1"] * 3
    assert all(source.read(i).names.tolist() == [4, 130] for i in range(3))
    with pytest.raises(DataError, match=r"truth\.json"):
        scene_source(tmp_path / "s1")


def test_yolo_polygons_smaller_on_top_and_missing_labels(tmp_path):
    write_picture(tmp_path / "images/a.jpg", size_hw=(40, 40))
    write_picture(tmp_path / "images/b.jpg", size_hw=(40, 40))
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
    write_picture(tmp_path / "im/a.jpg")
    write_picture(tmp_path / "im/b.jpg")
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
        write_picture(tmp_path / f"{name}.jpg", value=ord(name))
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


def test_contents_name_every_file_but_no_folder(tmp_path):
    for folder in ("one", "two"):
        write_picture(tmp_path / folder / "im/a.png")
        write_labels(tmp_path / folder / "maps/a.png", _halves())
    sources = [
        label_folder_source(tmp_path / f / "im", tmp_path / f / "maps") for f in ("one", "two")
    ]
    assert picture_fingerprints(sources[0]) == picture_fingerprints(sources[1])
    write_labels(tmp_path / "two/maps/a.png", _halves(left=3))
    assert picture_fingerprints(sources[0]) != picture_fingerprints(sources[1])
    (tmp_path / "two/im/a.png").unlink()
    with pytest.raises(DataError, match=r"two/im/a\.png is missing"):
        picture_fingerprints(sources[1])


def test_settings_of_a_source_are_what_its_files_do_not_say(tmp_path):
    write_picture(tmp_path / "im/a.png")
    write_labels(tmp_path / "maps/a.png", _halves())
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
