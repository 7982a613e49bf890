"""Pictures that nothing learns from: which they are, and that no source of a training has them."""

import pytest

from pipelines.fit_whitening import find_images, find_pictures
from ren_core.commands import train, train_masks
from ren_core.commands.parsers import COMMANDS
from ren_core.training.held_out import held_out_names, only_held_out, without_held_out
from ren_core.training.sources import yolo_source
from tests.places import SHARED

HELD = "000000000612"


def write_folder(root, names):
    for kind in ("images", "labels"):
        (root / kind / "train2017").mkdir(parents=True)
    for name in names:
        (root / f"images/train2017/{name}.jpg").write_bytes(b"")
        (root / f"labels/train2017/{name}.txt").write_text("0 .1 .1 .9 .1 .9 .9\n")
    return yolo_source(root / "images/train2017", root / "labels/train2017")


def names_of(source):
    return [entry.image.stem for entry in source.entries]


def test_a_source_is_split_by_the_names_of_its_pictures(tmp_path):
    source = write_folder(tmp_path, ["000000000009", HELD, "other"])
    assert names_of(without_held_out(source)) == ["000000000009", "other"]
    assert names_of(only_held_out(source)) == [HELD]
    assert without_held_out(without_held_out(source)).entries == without_held_out(source).entries


def test_no_training_sees_them(tmp_path):
    write_folder(tmp_path, ["000000000009", HELD])
    folders = [str(tmp_path / kind / "train2017") for kind in ("images", "labels")]
    head = COMMANDS["train"].parser().parse_args(["--out", "x", "--yolo", *folders])
    masks = COMMANDS["train-masks"].parser().parse_args(["--out", "x", "--coco128", str(tmp_path)])
    for kind, source in {**train.open_sources(head), **train_masks.open_sources(masks)}.items():
        assert names_of(source) == ["000000000009"], kind
    assert [file.stem for file in find_pictures(tmp_path)] == ["000000000009"]


@pytest.mark.data
@pytest.mark.skipif(not (SHARED / "data/train").is_dir(), reason="needs ../shared/data/train")
def test_they_are_the_last_of_coco128_and_the_whitening_never_saw_any_of_it():
    root = SHARED / "data/train/coco128_seg"
    source = yolo_source(root / "images/train2017", root / "labels/train2017")
    assert len(held_out_names()) == 28
    assert names_of(only_held_out(source)) == names_of(source)[-28:]
    fitted = {file.stem for file in find_images(SHARED / "data/train")}
    assert len(fitted) == 300
    assert not fitted & set(names_of(source))
