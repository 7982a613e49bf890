"""Question files in Visual Haystacks' layout and schema, made over the COCO images beside us."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from eval.haystacks import question_file

# the categories that the questions below are made of, by their index in the label files
CATEGORIES = {
    0: "person", 2: "car", 15: "cat", 16: "dog", 23: "giraffe", 41: "cup", 45: "bowl",
    56: "chair", 58: "potted plant", 60: "dining table",
}  # fmt: skip


def read_objects(coco128: Path) -> dict[str, frozenset[str]]:
    """Named categories of every image, by its name relative to COCO's folder."""
    objects = {}
    for image in sorted((coco128 / "images" / "train2017").glob("*.jpg")):
        label = coco128 / "labels" / "train2017" / f"{image.stem}.txt"
        lines = label.read_text().splitlines() if label.is_file() else []
        found = {int(line.split()[0]) for line in lines}
        objects[f"train2017/{image.name}"] = frozenset(
            CATEGORIES[index] for index in found if index in CATEGORIES
        )
    return objects


def make_questions(
    objects: Mapping[str, frozenset[str]], size: int, count: int, *, seed: int, repeat: bool = False
) -> list[dict]:
    """Balanced records: only the needle image shows the needle; odd ones have the answer no.

    ``repeat`` lets a haystack hold an image several times, for sizes beyond the images there are.
    """
    rng = np.random.default_rng(seed)
    records: list[dict] = []
    names = sorted(objects)
    while len(records) < count:
        positive = names[rng.integers(len(names))]
        truth = len(records) % 2 == 0
        present = sorted(objects[positive])
        if len(present) < 2:
            continue
        needle = present[rng.integers(len(present))]
        absent = sorted(set(CATEGORIES.values()) - objects[positive])
        targets = [name for name in present if name != needle] if truth else absent
        target = targets[rng.integers(len(targets))]
        others = [name for name in names if needle not in objects[name]]
        if len(others) < size - 1 and not repeat:
            continue
        chosen = rng.choice(len(others), size - 1, replace=repeat and len(others) < size - 1)
        records.append(record(positive, [others[i] for i in chosen], needle, target, truth=truth))
    return records


def record(
    positive: str, negatives: Sequence[str], needle: str, target: str, *, truth: bool
) -> dict:
    """One question in the official schema."""
    asked = f"For the image with a {needle}, is there a {target}?"
    return {
        "pos_image": [positive],
        "neg_image": list(negatives),
        "needle": needle,
        "target": target,
        "conversations": [
            {"from": "human", "value": asked},
            {"from": "gpt", "value": "yes" if truth else "no"},
        ],
    }


def write_questions(root: Path, size: int, records: Sequence[dict]) -> Path:
    """Write one official file; returns it."""
    file = question_file(root, "VHs_large", size)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(records))
    return file
