"""The segmentation and ablation commands run on tiny sets in the official layouts."""

from __future__ import annotations

import json

import cv2
import pytest

from pipelines import run_ablations, run_retrieval, run_segmentation
from ren_core.errors import ConfigError
from ren_core.model import REN
from tests.eval.retrieval.test_retrieval import write_coco
from tests.segmentation_sets import write_ade, write_camvid, write_voc
from tests.tiny import tiny_ren

FEW = ["--epochs", "4", "--batch", "3", "--seeds", "0", "1"]


@pytest.fixture(autouse=True)
def _tiny_model(monkeypatch):
    for module in (run_segmentation, run_ablations):
        monkeypatch.setattr(module, "load_model", lambda args: tiny_ren())


def results(folder, name="results.json"):
    return json.loads((folder / name).read_text())


def test_voc_from_end_to_end_and_again(tmp_path, capsys, monkeypatch):
    out = tmp_path / "out"
    command = ["--dataset", "voc2012", "--data", str(write_voc(tmp_path / "voc")), *FEW]
    command += ["--methods", "patches-grid", "patches-slic", "ren-grid", "ren-slic"]
    command += ["--merge", "0.9", "--grid-size", "6", "--pictures", "2", "--out", str(out)]
    assert run_segmentation.main(command) == 0
    found = results(out)
    names = [row["method"] for row in found["summary"]]
    assert names == [
        "patches-grid", "patches-slic", "ren-grid", "ren-grid-0.9", "ren-slic", "ren-slic-0.9",
    ]  # fmt: skip
    assert len(found["rows"]) == 12
    assert 0 < found["summary"][0]["mIoU"][0] <= 1
    assert found["images"] == {"train": 6, "val": 3}
    assert found["config"]["grid_size"] == 6
    picture = cv2.imread(str(out / "pictures.png"))
    assert picture.shape[1] == 8 * 326
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


def test_retrieval_stands_beside_segmentation(tmp_path, capsys, monkeypatch):
    """The file is the one that the retrieval command writes."""
    write_coco(tmp_path / "coco", "train2017", {i: (1 + i % 3,) for i in range(1, 7)})
    write_coco(tmp_path / "coco", "val2017", {i: (1 + i % 3, 1 + (i + 1) % 3) for i in (21, 22)})
    monkeypatch.setattr(
        REN, "from_pretrained", lambda name, device, **settings: tiny_ren(**settings)
    )
    retrieval = ["--data", str(tmp_path / "coco"), "--min-area", "50", "--per-class", "1"]
    retrieval += ["--top-k", "2", "--points", "8", "--pictures", "0", "--grid-size", "8"]
    files = []
    for prompting, merging in (("grid", "--no-aggregate"), ("slic", "--aggregate")):
        run = tmp_path / f"{prompting}{merging}"
        options = ["--prompting", prompting, merging, "--out", str(run)]
        assert run_retrieval.main([*retrieval, *options]) == 0
        files.append(str(run / "retrieval.json"))

    command = ["--dataset", "camvid", "--data", str(write_camvid(tmp_path / "set")), *FEW]
    command += ["--thresholds", "0.9", "--grid-size", "8", "--out", str(tmp_path / "out")]
    columns = ["--column", "mRP@2", *files, "--column", "mAP", files[0]]
    capsys.readouterr()
    assert run_ablations.main([*command, *columns]) == 0
    found = results(tmp_path / "out", "ablations.json")["other tasks"]
    assert set(found["mRP@2"]) == {"patches-grid", "ren-grid", "ren-slic-0.975"}
    figures = json.loads((tmp_path / "slic--aggregate/retrieval.json").read_text())["figures"]
    assert found["mRP@2"]["ren-slic-0.975"] == figures["ren"]["precision"]
    lines = capsys.readouterr().out.split("prompting\n")[1].splitlines()
    rows = {line.split()[0]: line.split()[-2:] for line in lines[1:5]}
    assert rows["ren-grid"][1] != "-"
    assert rows["ren-slic"] == ["-", "-"]
    assert rows["ren-slic-0.975"] == [f"{100 * found['mRP@2']['ren-slic-0.975']:.1f}", "-"]

    for column, code, sentence in (
        (["mRP@50", files[0]], 2, "has mAP and mRP, with K 2 of precision, not mRP@50"),
        (["figures", files[0]], 2, "not figures"),
        (["mRP"], 2, "names no file"),
    ):
        assert run_ablations.main([*command, "--column", *column]) == code
        assert sentence in capsys.readouterr().err
    assert run_ablations.main([*command, "--grid-size", "4", "--column", "mRP", files[0]]) == 1
    assert "this table of ('tiny', 'tiny', 56, 4)" in capsys.readouterr().err


def test_ablations_with_a_column_of_another_task(tmp_path, capsys):
    out = tmp_path / "out"
    column = tmp_path / "retrieval.json"
    column.write_text('{"ren-grid": 0.5}')
    command = ["--dataset", "camvid", "--data", str(write_camvid(tmp_path / "set")), *FEW]
    command += ["--thresholds", "0.9", "0.99", "--merge", "0.95", "--grid-size", "8"]
    assert run_ablations.main([*command, "--column", "RP@50", str(column), "--out", str(out)]) == 0
    found = results(out, "ablations.json")
    assert [r["method"]["merge_similarity"] for r in found["token count"]] == [
        None, None, 0.99, 0.9,
    ]  # fmt: skip
    assert [r["method"]["prompting"] for r in found["prompting"]] == [
        "grid",
        "grid",
        "slic",
        "slic",
    ]
    assert found["token count"][1]["tokens"] == 64
    assert (out / "token_count.png").is_file()
    assert "RP@50" in capsys.readouterr().out
    column.write_text("[]")
    assert run_ablations.main([*command, "--column", "RP@50", str(column)]) == 1
    assert "does not hold figures" in capsys.readouterr().err
