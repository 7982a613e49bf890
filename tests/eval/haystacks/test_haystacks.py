"""Visual Haystacks by hand: files, questions, ties, thresholds, bootstrap; the token cache."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from eval.haystacks import tokens as haystack_tokens
from eval.haystacks.protocol import (
    SIZES,
    HaystackConfig,
    Question,
    Similarities,
    answer,
    bootstrap,
    figures,
    find_image,
    question_file,
    read_questions,
)
from eval.haystacks.tokens import encode_images, similarity_tables, token_path
from ren_core.errors import ConfigError, DataError
from ren_core.transfer import TransferredRegions
from tests.eval.retrieval.test_retrieval import write_coco
from tools import coco_questions
from tools.coco_questions import make_questions, read_objects, record, write_questions

CONFIG = HaystackConfig(template="{}")


def table(**columns):
    """Similarities of images 0, 1, 2, ... named by their letters, one keyword per text."""
    values = np.array(list(columns.values()), np.float32).T
    names = {letter: i for i, letter in enumerate("abcdef"[: len(values)])}
    return Similarities(values, names, {text: i for i, text in enumerate(columns)})


def question(positives="a", negatives="bc", truth=True):
    return Question("dog", "cup", tuple(positives), tuple(negatives), truth)


def test_the_official_file_names(tmp_path):
    names = [question_file(tmp_path, "VHs_small", size).name for size in SIZES]
    assert names[0] == "visual_haystack_oracle.json"
    assert names[1:3] == ["visual_haystack_2.json", "visual_haystack_3.json"]
    assert names[-1] == "visual_haystack_1000.json"
    found = question_file(tmp_path, "VHs_large", 5)
    assert found == tmp_path / "single_needle" / "VHs_large" / "visual_haystack_5.json"


def test_questions_are_read_with_and_without_their_own_fields(tmp_path):
    first = record("train2017/1.jpg", ["val2017/2.jpg"], "dog", "dining table", truth=True)
    bare = record("3.jpg", [], "potted plant", "apple", truth=False)
    bare["conversations"][0]["value"] = (
        "<image>\nFor the image with a potted plant, is there an apple?"
    )
    del bare["needle"], bare["target"]
    named = record("4.jpg", ["5.jpg"], "cup", "cat", truth=False)
    named["conversations"][0]["value"] = "Something else entirely?"
    plural = dict(bare, needle=None)
    plural["conversations"] = [
        {"value": "For the image with the dogs, are there any hot dogs?"},
        {"value": "Yes."},
    ]
    file = write_questions(tmp_path, 2, [first, bare, named, plural])
    assert read_questions(file) == [
        Question("dog", "dining table", ("train2017/1.jpg",), ("val2017/2.jpg",), True),
        Question("potted plant", "apple", ("3.jpg",), (), False),
        Question("cup", "cat", ("4.jpg",), ("5.jpg",), False),
        Question("dogs", "hot dogs", ("3.jpg",), (), True),
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pos_image": []}, "0 needle images"),
        ({"conversations": []}, "two turns"),
        ({"conversations": [{"value": "?"}, {"value": "maybe"}]}, "'maybe'"),
        ({"needle": "", "conversations": [{"value": "Hm?"}, {"value": "no"}]}, "'Hm"),
        ({"neg_image": None}, "neg_image"),
    ],
)
def test_records_of_another_schema_are_refused(tmp_path, change, message):
    good = record("1.jpg", [], "dog", "cup", truth=True)
    file = write_questions(tmp_path, 1, [good, {**good, **change}])
    with pytest.raises(DataError, match=rf"record 1 .*{message}"):
        read_questions(file)


def test_missing_and_damaged_files_name_the_command(tmp_path):
    with pytest.raises(DataError, match=r"missing; .*dataset tsunghanwu/visual_haystacks"):
        read_questions(tmp_path / "none.json")
    for text in ("[", "{}", "[]"):
        (tmp_path / "bad.json").write_text(text)
        with pytest.raises(DataError, match="huggingface-cli"):
            read_questions(tmp_path / "bad.json")
    with pytest.raises(DataError, match=r"x\.jpg is neither .*train2017.*--coco"):
        find_image(tmp_path, "x.jpg")


def test_images_are_found_as_given_then_in_train_then_in_val(tmp_path):
    for place in ("train2017/1.jpg", "val2017/1.jpg", "val2017/2.jpg", "2.jpg", "val2017/3.jpg"):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        (tmp_path / place).touch()
    found = [find_image(tmp_path, n) for n in ("val2017/1.jpg", "1.jpg", "2.jpg", "coco/3.jpg")]
    assert [str(f.relative_to(tmp_path)) for f in found] == [
        "val2017/1.jpg",
        "train2017/1.jpg",
        "2.jpg",
        "val2017/3.jpg",
    ]


def test_the_target_is_looked_for_in_the_image_that_was_found():
    similarities = table(dog=[0.1, 0.3, 0.2], cup=[0.9, 0.06, 0.9])
    given = answer(question(), similarities, CONFIG)
    assert (given.image, given.found, given.said) == ("b", False, True)
    assert given.anchor_similarity == pytest.approx(0.3)
    assert given.target_similarity == pytest.approx(0.06)
    given = answer(question(positives="b", negatives="ac"), similarities, CONFIG)
    assert given.found


def test_ties_are_broken_against_the_needle():
    similarities = table(dog=[0.3, 0.1, 0.3], cup=[0.9, 0.9, 0.0])
    given = answer(question(), similarities, CONFIG)
    assert (given.image, given.found, given.said) == ("c", False, False)
    alone = answer(question(negatives=""), similarities, CONFIG)
    assert (alone.image, alone.found, alone.said) == ("a", True, True)


def test_the_answer_is_yes_above_the_threshold_only():
    similarities = table(dog=[0.3], cup=[0.25])
    at = HaystackConfig(template="{}", threshold=0.25)
    below = HaystackConfig(template="{}", threshold=0.24)
    assert not answer(question(negatives=""), similarities, at).said
    assert answer(question(negatives=""), similarities, below).said
    assert HaystackConfig().threshold == 0.05
    negative = table(dog=[-0.3], cup=[-0.2])
    low = HaystackConfig(template="{}", threshold=-0.25)
    assert answer(question(negatives=""), negative, low).said


def test_the_template_makes_the_texts():
    similarities = table(**{"a dog!": [0.3], "a cup!": [0.2]})
    config = HaystackConfig(template="a {}!")
    assert answer(question(negatives=""), similarities, config).said


def test_figures_by_hand():
    similarities = table(dog=[0.3, 0.2, 0.4], cup=[0.1, 0.0, 0.0])
    asked = [
        question(negatives="b", truth=True),  # found, yes, right
        question(negatives="b", truth=False),  # found, yes, wrong
        question(negatives="bc", truth=False),  # not found, no, right
        question(negatives="c", truth=True),  # not found, no, wrong
        question(negatives="", truth=True),  # found, yes, right
    ]
    config = HaystackConfig(template="{}", resamples=4000, seed=5)
    found = figures([answer(q, similarities, config) for q in asked], config)
    assert found.accuracy == 0.6
    assert found.needle_recall == 0.6
    assert found.yes_rate == 0.6
    assert found.truth_rate == 0.6
    assert found.questions == 5
    assert found.bootstrap_mean == pytest.approx(0.6, abs=0.01)
    assert found.bootstrap_std == pytest.approx((0.6 * 0.4 / 5) ** 0.5, abs=0.01)
    with pytest.raises(ConfigError, match="no answer"):
        figures([], config)


def test_bootstrap_is_seeded_and_draws_with_replacement():
    values = np.array([0.0, 1.0])
    means = bootstrap(values, 400, 3)
    assert set(means) == {0.0, 0.5, 1.0}
    assert np.mean(means == 0.5) == pytest.approx(0.5, abs=0.1)
    assert np.array_equal(means, bootstrap(values, 400, 3))
    assert not np.array_equal(means, bootstrap(values, 400, 4))
    drawn = np.random.default_rng(3).integers(0, 2, (400, 2))
    assert np.array_equal(means, drawn.mean(1))  # the values are their own indices here


def test_wrong_settings_are_refused():
    with pytest.raises(ConfigError, match="threshold"):
        HaystackConfig(threshold=2)
    with pytest.raises(ConfigError, match="resample"):
        HaystackConfig(resamples=0)
    with pytest.raises(ConfigError, match="template"):
        HaystackConfig(template="a photo")


class CountingEncode:
    """Two or three regions made of a picture's mean colour; breaks after ``limit`` pictures."""

    def __init__(self, limit=1000):
        self.seen, self.limit = 0, limit

    def __call__(self, images):
        self.seen += len(images)
        if self.seen > self.limit:
            raise KeyboardInterrupt
        return [self.regions(image.float().mean((1, 2))) for image in images]

    @staticmethod
    def regions(colour):
        generator = torch.Generator().manual_seed(int(colour.sum()))
        count = 2 + int(colour.sum()) % 2
        tokens = torch.randn(1 + count, 5, generator=generator) * 7
        return TransferredRegions(tokens[1:], torch.arange(count), tokens[0])


@pytest.fixture
def pictures(tmp_path):
    files = {}
    for i in range(5):
        picture = np.full((8, 9, 3), (20 * i, 5, 200 - i), np.uint8)
        files[f"train2017/{i}.png"] = tmp_path / f"{i}.png"
        cv2.imwrite(str(tmp_path / f"{i}.png"), picture)
    return files


def test_images_are_encoded_once_and_a_killed_run_goes_on(pictures, tmp_path):
    store = tmp_path / "store"
    with pytest.raises(KeyboardInterrupt):
        encode_images(pictures, CountingEncode(limit=3), store=store, batch=2)
    assert len(list(store.rglob("*.safetensors"))) == 2
    resumed = CountingEncode()
    assert encode_images(pictures, resumed, store=store, batch=2) == 3
    assert resumed.seen == 3
    again = CountingEncode()
    assert encode_images(pictures, again, store=store) == again.seen == 0
    assert not list(store.rglob("*.partial"))
    other = tmp_path / "other"
    assert encode_images(pictures, CountingEncode(), store=other, batch=5) == 5
    for name, file in pictures.items():
        first, second = (token_path(s, name, file).read_bytes() for s in (store, other))
        assert first == second
    with pytest.raises(ConfigError, match="at least 1"):
        encode_images(pictures, again, store=store, batch=0)


def test_a_file_that_breaks_off_while_written_leaves_nothing(pictures, tmp_path, monkeypatch):
    def half(tensors, path):
        path.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(haystack_tokens, "save_file", half)
    with pytest.raises(OSError, match="disk full"):
        encode_images(pictures, CountingEncode(), store=tmp_path / "store")
    assert not [p for p in (tmp_path / "store").rglob("*") if p.is_file()]


def test_another_picture_of_the_same_name_has_other_tokens(pictures, tmp_path):
    name, file = next(iter(pictures.items()))
    before = token_path(tmp_path, name, file)
    assert token_path(tmp_path, "val2017/0.png", file) != before
    with file.open("ab") as more:
        more.write(b" ")
    assert token_path(tmp_path, name, file) != before


def test_similarities_are_cosines_of_the_best_region(pictures, tmp_path):
    store, encode = tmp_path / "store", CountingEncode()
    encode_images(pictures, encode, store=store)
    generator = torch.Generator().manual_seed(1)
    vectors = torch.nn.functional.normalize(torch.randn(3, 5, generator=generator), dim=1)
    texts = dict(zip(("x", "y", "z"), vectors, strict=True))
    by_region, by_image = similarity_tables(pictures, texts, store)
    for name, file in pictures.items():
        colour = torch.from_numpy(cv2.imread(str(file))[0, 0, ::-1].astype(np.float32))
        regions = encode.regions(colour)
        for text, vector in texts.items():
            cosines = torch.cosine_similarity(regions.tokens, vector[None])
            found = by_region.of([name], text)[0]
            assert found == pytest.approx(cosines.max().item(), abs=2e-3)
            whole = torch.cosine_similarity(regions.image_token, vector, dim=0)
            assert by_image.of([name], text)[0] == pytest.approx(whole.item(), abs=2e-3)
        stored = load_file(token_path(store, name, file))["tokens"]
        assert stored.dtype == torch.float16
        assert len(stored) == 1 + len(regions.tokens)


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
