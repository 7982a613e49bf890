"""COCO128 becomes a dataset in COCO's official layout."""

import cv2
import numpy as np
import pytest

from eval.coco import load_split
from tests.places import SHARED
from tools import coco128

COCO128 = SHARED / "data/train/coco128_seg"


def test_yolo_polygons_become_coco_annotations(tmp_path):
    source = tmp_path / "yolo"
    for name in ("images/t", "labels/t"):
        (source / name).mkdir(parents=True)
    for i in range(4):
        cv2.imwrite(str(source / f"images/t/{i:03d}.jpg"), np.zeros((20, 40, 3), np.uint8))
    (source / "labels/t/002.txt").write_text("79 0.1 0.2 0.6 0.2 0.6 0.7 0.1 0.7\n")
    out = tmp_path / "coco"
    for _ in range(2):  # a second time replaces the first
        coco128.main(["--source", str(source), "--out", str(out), "--query-share", "0.25"])
    train, val = (load_split(out, s) for s in ("train2017", "val2017"))
    assert (len(train.images), len(val.images)) == (1, 3)
    assert all(i.file.is_file() for i in (*train.images.values(), *val.images.values()))
    (found,) = [*train.objects.values(), *val.objects.values()]
    holder = train if found.image_id in train.images else val
    assert (found.image_id, holder.categories[found.category_id]) == (2, "toothbrush")
    assert found.area == pytest.approx(20 * 10, abs=30)
    assert holder.mask(found)[4:14, 4:24].all()
    assert len(coco128.categories()) == 80
    coco128.convert(source, tmp_path / "other", seed=3, query_share=0.5)
    assert len(load_split(tmp_path / "other", "train2017").images) == 2


@pytest.mark.data
@pytest.mark.skipif(not COCO128.is_dir(), reason="needs ../shared/data/train/coco128_seg")
def test_coco128_in_the_official_layout(tmp_path):
    coco128.convert(COCO128, tmp_path, seed=1)
    train, val = load_split(tmp_path, "train2017"), load_split(tmp_path, "val2017")
    assert (len(train.images), len(val.images)) == (64, 64)
    assert not train.images.keys() & val.images.keys()
    assert len(train.objects) + len(val.objects) == 929
    for found in list(train.objects.values())[::40]:
        assert train.mask(found).sum() == found.area
