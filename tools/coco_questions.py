"""Write Visual Haystacks' question files, in the official schema, over any images in COCO's layout.

The official questions cannot always be had, and their images are many. These are made from the
annotations of the folder, such as the one that ``tools/coco128.py`` writes, and are read by
``pipelines/run_haystacks.py`` as the official ones are.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eval.coco import load_split
from eval.haystacks.protocol import SIZES, SUBSETS, question_file
from ren_core.errors import ConfigError, DataError

logger = logging.getLogger("coco_questions")

Objects = Mapping[str, frozenset[str]]
"""Names of the categories that an image shows, by the image's name relative to COCO's folder."""
Record = dict[str, Any]


def read_objects(coco: Path) -> dict[str, frozenset[str]]:
    """The categories of every annotated image of ``train2017`` and ``val2017``."""
    return {
        str(image.file.relative_to(coco)): frozenset(split.categories[c] for c in image.categories)
        for split in (load_split(coco, part) for part in ("train2017", "val2017"))
        for image in split.images.values()
    }


def make_questions(
    objects: Objects, size: int, count: int, *, seed: int, repeat: bool = False
) -> list[Record]:
    """Balanced records: only the needle image shows the needle; every second one has answer no.

    Args:
        objects: What each image shows.
        size: Images per haystack.
        count: Questions.
        seed: Of every choice; the same seed gives the same questions.
        repeat: Let a haystack hold other images several times where there are too few of them.

    Raises:
        DataError: If no image can be a needle in a haystack of this size.
    """
    others = {
        needle: [name for name in sorted(objects) if needle not in objects[name]]
        for needle in sorted(frozenset().union(*objects.values()))
    }
    enough = min(size - 1, 1) if repeat else size - 1
    needles = [
        (name, needle)
        for name in sorted(objects)
        for needle in sorted(objects[name])
        if 1 < len(objects[name]) < len(others) and len(others[needle]) >= enough
    ]
    if not needles:
        raise DataError(
            f"no haystack of {size} images can be made of {len(objects)}; take more images or "
            f"smaller sizes"
        )
    rng = np.random.default_rng((seed, size))
    records = []
    for i in range(count):
        image, needle = needles[rng.integers(len(needles))]
        truth = i % 2 == 0
        targets = objects[image] - {needle} if truth else others.keys() - objects[image]
        target = sorted(targets)[rng.integers(len(targets))]
        pool = others[needle]
        order = np.resize(rng.permutation(len(pool)), size - 1)  # all of them before any again
        records.append(record(image, [pool[j] for j in order], needle, target, truth=truth))
    return records


def record(
    positive: str, negatives: Sequence[str], needle: str, target: str, *, truth: bool
) -> Record:
    """One question in the official schema."""
    asked = f"For the image with {with_article(needle)}, is there {with_article(target)}?"
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


def with_article(name: str) -> str:
    """An object's name as the questions have it.

    >>> with_article("orange"), with_article("dog")
    ('an orange', 'a dog')
    """
    return f"an {name}" if name[0] in "aeiou" else f"a {name}"


def write_questions(
    root: Path, size: int, records: Sequence[Record], subset: str = SUBSETS[0]
) -> Path:
    """Write one file under its official name; returns it."""
    file = question_file(root, subset, size)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(records))
    return file


def run(args: argparse.Namespace) -> None:
    """Write the file of every size."""
    if args.count < 1 or min(args.sizes) < 1:
        raise ConfigError(f"--count and --sizes start at 1, got {args.count} and {args.sizes}")
    objects = read_objects(args.coco)
    for size in args.sizes:
        records = make_questions(objects, size, args.count, seed=args.seed, repeat=True)
        file = write_questions(args.out, size, records, args.subset)
        different = min(len({*r["pos_image"], *r["neg_image"]}) for r in records)
        note = "" if different == size else f"; images repeat, at least {different} are different"
        logger.info("%s: %d questions over %d images%s", file, len(records), size, note)


def main(argv: Sequence[str] | None = None) -> int:
    """Make the question files; 0 done, 1 failed, 2 usage."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    add = parser.add_argument
    add("--coco", type=Path, required=True, help="images and annotations in COCO's layout")
    add("--out", type=Path, required=True, help="folder of the question files, such as VHs_qa")
    add("--subset", choices=SUBSETS, default=SUBSETS[0], help="name of the question set")
    add("--sizes", type=int, nargs="+", default=list(SIZES), help="images N; 1 is oracle")
    add("--count", type=int, default=100, help="questions of every size (100; officially 1,000)")
    add("--seed", type=int, default=0, help="of every choice (0)")
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        run(args)
    except (ConfigError, DataError) as err:
        sys.stderr.write(f"{err}\n")
        return 2 if isinstance(err, ConfigError) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
