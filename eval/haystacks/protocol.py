"""Visual Haystacks, single needle: one of N images holds the anchor; does it hold the target too?

The image most similar to the anchor's text is taken; the answer is yes if something in it is
similar enough to the target's text. Similarities come as a table of images by texts, so that one
pass over the images serves every N.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eval.coco import FETCH, ZIPS
from ren_core.configuration import Cosine, Count, Seed, configuration
from ren_core.errors import ConfigError, DataError

SIZES = (1, 2, 3, 5, 10, 20, 50, 100, 500, 1000)
"""Images per haystack in the paper's table; 1 is the file called oracle."""
SUBSETS = ("VHs_large", "VHs_small")
ADVICE = (
    "get the questions with `huggingface-cli download --repo-type dataset "
    "tsunghanwu/visual_haystacks --local-dir data/VHs_qa` and pass --data data/VHs_qa"
)
IMAGE_ADVICE = f"run `{FETCH.format(' '.join(ZIPS[:2]))}` in a folder and pass it with --coco"
_QUESTION = re.compile(
    r"for the image with (?:an? |the )?(?P<needle>[^,]+), "
    r"(?:is|are) there (?:an? |any |the )?(?P<target>[^?]+)\?",
    re.IGNORECASE,
)


@configuration()
class HaystackConfig:
    """The protocol.

    Attributes:
        threshold: Cosine above which the target counts as present; it depends on the encoder.
        template: Sentence made of an object's name.
        resamples: Bootstrap resamples of the questions.
        seed: Of the bootstrap.
    """

    threshold: Cosine = 0.05
    template: str = "This is a photo of {}."
    resamples: Count = 100
    seed: Seed = 0

    def __post_init__(self) -> None:
        if self.template.count("{}") != 1:
            raise ConfigError(f"the template must hold one {{}}, got {self.template!r}")


@dataclass(frozen=True, slots=True)
class Question:
    """One haystack.

    Attributes:
        needle: Object that only the needle image shows.
        target: Object asked for.
        positives: Names of the needle images; one in this task.
        negatives: Names of the others.
        truth: Whether the needle image shows the target.
    """

    needle: str
    target: str
    positives: tuple[str, ...]
    negatives: tuple[str, ...]
    truth: bool

    @property
    def images(self) -> tuple[str, ...]:
        """All images of the haystack."""
        return self.positives + self.negatives


@dataclass(frozen=True, slots=True)
class Answer:
    """What a method said to one question.

    Attributes:
        image: The image it took for the needle.
        found: Whether it is the needle.
        anchor_similarity: Of that image to the anchor's text.
        target_similarity: Of that image to the target's text.
        said: Its answer.
        truth: The right answer.
    """

    image: str
    found: bool
    anchor_similarity: float
    target_similarity: float
    said: bool
    truth: bool


@dataclass(frozen=True, slots=True)
class Similarities:
    """Cosine (I, T) of every image to every text: for regions, of the most similar region."""

    table: NDArray[np.float32]
    image_row: Mapping[str, int]
    text_column: Mapping[str, int]

    def of(self, images: Sequence[str], text: str) -> NDArray[np.float32]:
        """(len(images),) cosines to one text."""
        rows = [self.image_row[image] for image in images]
        return self.table[rows, self.text_column[text]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Figures:
    """A method's figures at one N.

    Attributes:
        accuracy: Share of right answers.
        bootstrap_mean: Mean accuracy of the resamples, as the benchmark reports it.
        bootstrap_std: Their standard deviation.
        needle_recall: Share of questions whose needle was found.
        yes_rate: Share answered with yes.
        truth_rate: Share whose right answer is yes.
        questions: Their number.
    """

    accuracy: float
    bootstrap_mean: float
    bootstrap_std: float
    needle_recall: float
    yes_rate: float
    truth_rate: float
    questions: int


def question_file(root: Path, subset: str, size: int) -> Path:
    """The official file of haystacks of ``size`` images.

    >>> question_file(Path("VHs_qa"), "VHs_large", 1).name
    'visual_haystack_oracle.json'
    """
    name = "oracle" if size == 1 else str(size)
    return root / "single_needle" / subset / f"visual_haystack_{name}.json"


def read_questions(file: Path) -> list[Question]:
    """Questions of an official file.

    Raises:
        DataError: If it is missing or a record is not as expected.
    """
    if not file.is_file():
        raise DataError(f"{file} is missing; {ADVICE}")
    try:
        records = json.loads(file.read_text())
    except json.JSONDecodeError as err:
        raise DataError(f"{file} is not JSON ({err}); {ADVICE}") from err
    if not isinstance(records, list) or not records:
        raise DataError(f"{file} holds no list of questions; {ADVICE}")
    return [_question(record, f"{file}, record {i}") for i, record in enumerate(records)]


def _question(record: dict[str, object], where: str) -> Question:
    """One record; objects are read from the question where they have no fields of their own."""
    try:
        asked, answered = (str(turn["value"]) for turn in record["conversations"][:2])  # type: ignore[index]
        positives = tuple(str(image) for image in record["pos_image"])  # type: ignore[attr-defined]
        negatives = tuple(str(image) for image in record["neg_image"])  # type: ignore[attr-defined]
    except (KeyError, TypeError, ValueError) as err:
        raise DataError(
            f"{where} lacks pos_image, neg_image or a conversation of two turns ({err!r}); {ADVICE}"
        ) from err
    truth = answered.strip().strip(".").lower()
    if truth not in ("yes", "no") or not positives:
        raise DataError(f"{where} has answer {answered!r} and {len(positives)} needle images")
    matched = _QUESTION.search(asked)
    needle = record.get("needle") or (matched and matched["needle"])
    target = record.get("target") or (matched and matched["target"])
    if not needle or not target:
        raise DataError(f"{where} names no needle and target, and its question is {asked!r}")
    return Question(str(needle), str(target), positives, negatives, truth == "yes")


def find_image(coco: Path, name: str) -> Path:
    """The file of an image: as given, else its file name in train2017, else in val2017.

    Raises:
        DataError: If it is in none of them.
    """
    tried = [coco / name, *(coco / part / Path(name).name for part in ("train2017", "val2017"))]
    for path in tried:
        if path.is_file():
            return path
    raise DataError(
        f"image {name} is neither {', nor '.join(str(path) for path in tried)}; {IMAGE_ADVICE}"
    )


def sentence(name: str, config: HaystackConfig) -> str:
    """The text of an object."""
    return config.template.format(name)


def answer(question: Question, similarities: Similarities, config: HaystackConfig) -> Answer:
    """Take the image nearest to the anchor's text and look for the target in it.

    A tie goes against the needle.
    """
    anchor, target = sentence(question.needle, config), sentence(question.target, config)
    images = question.negatives + question.positives  # the first of equals is taken
    to_anchor = similarities.of(images, anchor)
    best = int(to_anchor.argmax())
    to_target = float(similarities.of([images[best]], target)[0])
    return Answer(
        image=images[best],
        found=best >= len(question.negatives),
        anchor_similarity=float(to_anchor[best]),
        target_similarity=to_target,
        said=to_target > config.threshold,
        truth=question.truth,
    )


def figures(answers: Sequence[Answer], config: HaystackConfig) -> Figures:
    """Accuracy with its bootstrap, needle recall and how often the answer was yes.

    Raises:
        ConfigError: If there is no answer.
    """
    if not answers:
        raise ConfigError("there is no answer to score")
    right = np.array([a.said == a.truth for a in answers], float)
    means = bootstrap(right, config.resamples, config.seed)
    return Figures(
        accuracy=float(right.mean()),
        bootstrap_mean=float(means.mean()),
        bootstrap_std=float(means.std()),
        needle_recall=float(np.mean([a.found for a in answers])),
        yes_rate=float(np.mean([a.said for a in answers])),
        truth_rate=float(np.mean([a.truth for a in answers])),
        questions=len(answers),
    )


def bootstrap(values: NDArray[np.float64], resamples: int, seed: int) -> NDArray[np.float64]:
    """Means (resamples,) of as many draws with replacement as there are values."""
    drawn = np.random.default_rng(seed).integers(0, len(values), (resamples, len(values)))
    means: NDArray[np.float64] = values[drawn].mean(axis=1)
    return means
