"""Visual Haystacks by hand: files, questions, ties, thresholds, bootstrap."""

from __future__ import annotations

import numpy as np
import pytest

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
from ren_core.errors import ConfigError, DataError
from tools.coco_questions import record, write_questions

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
