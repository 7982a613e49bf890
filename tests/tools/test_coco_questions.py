"""Questions made of a COCO folder have the official form."""

from __future__ import annotations

import json

import pytest

from eval.haystacks.protocol import SIZES, find_image, question_file, read_questions
from ren_core.errors import DataError
from tests.coco_files import write_coco
from tools import coco_questions
from tools.coco_questions import make_questions, read_objects, record, write_questions


def test_made_files_have_the_official_schema(tmp_path):
    file = write_questions(tmp_path, 1, [record("1.jpg", [], "dog", "cup", truth=True)])
    assert file.name == "visual_haystack_oracle.json"
    assert json.loads(file.read_text())[0]["conversations"][1] == {"from": "gpt", "value": "yes"}


def test_made_questions_are_balanced_and_only_the_needle_image_shows_the_needle():
    kinds = ["dog", "cup", "orange", "chair", "car"]
    objects = {f"val2017/{i}.jpg": frozenset({kinds[i % 5], kinds[i % 4]}) for i in range(40)}
    for size in (1, 2, 20, 100):
        records = make_questions(objects, size, 30, seed=2, repeat=True)
        assert records == make_questions(objects, size, 30, seed=2, repeat=True)
        assert records != make_questions(objects, size, 30, seed=3, repeat=True)
        for i, made in enumerate(records):
            (positive,), negatives = made["pos_image"], made["neg_image"]
            assert made["needle"] in objects[positive]
            assert not any(made["needle"] in objects[name] for name in negatives)
            assert made["target"] != made["needle"]
            truth = made["conversations"][1]["value"]
            assert truth == ("yes" if made["target"] in objects[positive] else "no")
            assert truth == ("yes", "no")[i % 2]
            pool = {n for n in objects if made["needle"] not in objects[n]}
            assert len(negatives) == size - 1
            assert len(set(negatives)) == min(size - 1, len(pool))  # all of them before any again
    with pytest.raises(DataError, match="no haystack of 100 images can be made of 40"):
        make_questions(objects, 100, 1, seed=0)


def test_the_command_makes_every_official_file_over_a_coco_folder(tmp_path, capsys):
    write_coco(tmp_path / "coco", "train2017", {i: (1 + i % 3, 1 + i % 2) for i in range(1, 7)})
    write_coco(tmp_path / "coco", "val2017", {i: (1 + i % 3,) for i in range(11, 16)})
    objects = read_objects(tmp_path / "coco")
    assert objects["train2017/1.png"] == {"blue"}
    assert objects["val2017/13.png"] == {"blue"}
    assert objects["train2017/2.png"] == {"green", "red"}
    words = ["--coco", str(tmp_path / "coco"), "--out", str(tmp_path / "VHs_qa")]
    assert coco_questions.main([*words, "--count", "4", "--subset", "VHs_small"]) == 0
    for size in SIZES:
        questions = read_questions(question_file(tmp_path / "VHs_qa", "VHs_small", size))
        assert [q.truth for q in questions] == [True, False] * 2
        assert {len(q.images) for q in questions} == {size}
        assert all(find_image(tmp_path / "coco", name) for name in questions[0].images)
    assert coco_questions.main([*words, "--count", "0"]) == 2
    assert coco_questions.main(["--coco", str(tmp_path), *words[2:]]) == 1
    assert "official layout" in capsys.readouterr().err
