"""COCO's layout: labels, masks, and what is said of a damaged set."""

from dataclasses import replace

import numpy as np
import pytest

from eval.coco import load_split
from ren_core.errors import DataError
from tests.coco_files import write_coco


def test_labels_of_an_image_include_crowds_but_queries_do_not(tmp_path):
    write_coco(tmp_path, "val2017", {4: (1, 2), 3: ()}, crowd={(4, 2)})
    split = load_split(tmp_path, "val2017")
    assert list(split.images) == [3, 4]
    assert split.images[4].categories == {1, 2}
    assert split.images[3].categories == frozenset()
    assert [o.category_id for o in split.objects.values()] == [1]
    assert list(split.categories.items()) == [(1, "red"), (2, "blue"), (3, "green")]


def test_masks_of_polygons_and_both_kinds_of_run_lengths(tmp_path):
    write_coco(tmp_path, "val2017", {4: (1,)})
    split = load_split(tmp_path, "val2017")
    found = split.objects[40]
    mask = split.mask(found)
    assert (mask.shape, mask.sum()) == ((40, 60), 196)
    assert mask[6:20, 3:17].all()
    runs = [1, 3, 40 * 60 - 4]  # column by column: rows 1-3 of the first column
    rle = {"size": [40, 60], "counts": runs}
    assert np.argwhere(split.mask(replace(found, segmentation=rle))).tolist() == [
        [1, 0],
        [2, 0],
        [3, 0],
    ]
    from pycocotools import mask as coco_mask

    text = coco_mask.frPyObjects(rle, 40, 60)
    text = {"size": text["size"], "counts": text["counts"].decode()}
    assert split.mask(replace(found, segmentation=text)).sum() == 3
    empty = {"size": [40, 60], "counts": [40 * 60]}
    with pytest.raises(DataError, match="covers no pixel"):
        split.mask(replace(found, segmentation=empty))
    with pytest.raises(DataError, match="neither"):
        split.mask(replace(found, segmentation=["nonsense"]))


def test_a_missing_dataset_is_one_sentence(tmp_path):
    with pytest.raises(DataError, match="official layout") as missing:
        load_split(tmp_path, "val2017")
    assert "train2017" in str(missing.value)
    assert "curl -fLO http://images.cocodataset.org/" in str(missing.value)
    write_coco(tmp_path, "val2017", {1: (1,)})
    file = tmp_path / "annotations/instances_val2017.json"
    for broken in ("{", "[]", '{"images": []}'):
        file.write_text(broken)
        with pytest.raises(DataError, match="no COCO instances file"):
            load_split(tmp_path, "val2017")
