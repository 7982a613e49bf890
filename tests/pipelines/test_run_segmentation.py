"""The segmentation command runs on tiny sets in the official layouts; both refuse bad input."""

from __future__ import annotations

import json

import cv2
import pytest

from pipelines import run_ablations, run_segmentation
from ren_core.errors import ConfigError
from tests.segmentation_sets import write_ade, write_camvid, write_voc
from tests.tiny import tiny_ren

FEW = ["--epochs", "4", "--batch", "3", "--seeds", "0", "1"]


@pytest.fixture(autouse=True)
def _tiny_model(monkeypatch):
    for module in (run_segmentation, run_ablations):
        monkeypatch.setattr(module, "load_model", lambda args: tiny_ren())


def results(folder):
    return json.loads((folder / "results.json").read_text())


def test_voc_from_end_to_end_and_again(tmp_path, capsys, monkeypatch):
    out = tmp_path / "out"
    command = ["--dataset", "voc2012", "--data", str(write_voc(tmp_path / "voc")), *FEW]
    command += ["--methods", "patches-grid", "patches-slic", "ren-grid", "ren-slic"]
    command += ["--merge", "0.9", "--regions", "5", "--grid-size", "6", "--pictures", "2"]
    command += ["--out", str(out)]
    assert run_segmentation.main(command) == 0
    found = results(out)
    names = [row["method"] for row in found["summary"]]
    assert names == [
        "patches-grid", "patches-grid-k5", "patches-slic", "patches-slic-k5",
        "ren-grid", "ren-grid-0.9", "ren-grid-k5", "ren-slic", "ren-slic-0.9", "ren-slic-k5",
    ]  # fmt: skip
    assert len(found["rows"]) == 20
    assert 0 < found["summary"][0]["mIoU"][0] <= 1
    assert found["images"] == {"train": 6, "val": 3}
    assert found["config"]["grid_size"] == 6
    assert cv2.imread(str(out / "pictures.png")).std() > 5
    printed = capsys.readouterr().out
    assert "aeroplane" in printed
    assert "ren-slic-0.9" in printed

    encoded = []
    monkeypatch.setattr("eval.segmentation.predict.direct_encode", lambda ren: encoded.append)
    assert run_segmentation.main(command) == 0  # every feature is there already
    assert encoded == []
    assert results(out)["summary"] == found["summary"]


def test_ade_with_an_unlabelled_image_and_the_released_recipe(tmp_path, capsys):
    out = tmp_path / "out"
    command = ["--dataset", "ade20k", "--data", str(write_ade(tmp_path / "ade")), *FEW]
    command += ["--preset", "release", "--methods", "ren-grid", "--merge", "--limit", "3"]
    assert run_segmentation.main([*command, "--pictures", "0", "--out", str(out)]) == 0
    found = results(out)
    assert [row["method"] for row in found["summary"]] == ["ren-grid"]
    assert len(found["rows"][0]["IoU"]) == 150
    assert None in found["rows"][0]["IoU"].values()  # a class absent and never predicted
    assert found["config"]["head"]["augmentation"] == "resized-crop"
    assert found["images"] == {"train": 3, "val": 3}
    assert not (out / "pictures.png").exists()
    assert not (out / "cache").exists()


def test_the_dinov2_recipe_slides(tmp_path):
    out = tmp_path / "out"
    command = ["--dataset", "camvid", "--data", str(write_camvid(tmp_path / "set")), *FEW]
    command += ["--preset", "dinov2-lin", "--split", "val", "--methods", "patches-grid"]
    assert run_segmentation.main([*command, "--limit", "2", "--out", str(out)]) == 0
    found = results(out)
    assert found["config"]["head"]["slide"] is True
    assert found["config"]["head"]["steps"] is None  # --epochs replaces the recipe's steps
    assert found["rows"][0]["tokens"] == 2 * 64


def test_missing_data_and_wrong_settings_are_sentences(tmp_path, capsys, monkeypatch):
    command = ["--dataset", "ade20k", "--data", str(tmp_path), "--out", str(tmp_path)]
    for main in (run_segmentation.main, run_ablations.main):
        assert main(command) == 1
        assert "ADEChallengeData2016.zip" in capsys.readouterr().err
        assert main([*command, "--split", "test"]) == 2
        assert "splits ['train', 'val']" in capsys.readouterr().err

    def refuse(args):
        raise ConfigError("no such model")

    monkeypatch.setattr(run_segmentation, "load_model", refuse)
    assert run_segmentation.main(command) == 2


def test_training_images_are_scored_only_on_purpose(tmp_path, capsys):
    voc = write_voc(tmp_path / "voc")
    lists = voc / "VOCdevkit/VOC2012/ImageSets/Segmentation"
    names = {s: (lists / f"{s}.txt").read_text() for s in ("train", "val")}
    (lists / "trainval.txt").write_text(names["train"] + names["val"])
    out = tmp_path / "out"
    command = ["--dataset", "voc2012", "--data", str(voc), *FEW, "--out", str(out)]
    command += ["--methods", "patches-grid", "--pictures", "0"]
    for split in ("train", "trainval"):
        for main in (run_segmentation.main, run_ablations.main):
            arguments = command[:-4] if main is run_ablations.main else command
            assert main([*arguments, "--split", split]) == 2
            assert f"VOC2012 {split} holds images that the heads are trained on; score 'val'" in (
                capsys.readouterr().err
            )
    assert not out.exists()

    on_purpose = [*command, "--split", "trainval", "--score-training-images"]
    assert run_segmentation.main(on_purpose) == 0
    assert "6 of the 9 scored images are training images" in capsys.readouterr().out
    found = results(out)
    assert found["scored_training_images"] == 6
    assert found["caveat"].startswith("6 of the 9")
    assert run_segmentation.main(command) == 0
    assert "training images" not in capsys.readouterr().out
    assert (results(out)["scored_training_images"], results(out)["caveat"]) == (0, "")

    (lists / "val.txt").write_text(names["val"] + names["train"].split()[0] + "\n")
    assert run_segmentation.main(command) == 2  # a list that is not the standard one
    assert "VOC2012 val holds images" in capsys.readouterr().err
