"""Write a small YOLO-polygon folder (such as COCO128) in COCO's official layout, split by a seed.

Some images become ``train2017`` (queries), the others ``val2017`` (database), so that
``pipelines/run_retrieval.py`` runs on them as it does on the real thing.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ren_core.images import read_image
from ren_core.regions import decode_coco

NAMES = (
    "person bicycle car motorcycle airplane bus train truck boat traffic_light fire_hydrant "
    "stop_sign parking_meter bench bird cat dog horse sheep cow elephant bear zebra giraffe "
    "backpack umbrella handbag tie suitcase frisbee skis snowboard sports_ball kite baseball_bat "
    "baseball_glove skateboard surfboard tennis_racket bottle wine_glass cup fork knife spoon bowl "
    "banana apple sandwich orange broccoli carrot hot_dog pizza donut cake chair couch "
    "potted_plant bed dining_table toilet tv laptop mouse remote keyboard cell_phone microwave "
    "oven toaster sink refrigerator book clock vase scissors teddy_bear hair_drier toothbrush"
)
UNUSED_IDS = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)  # of COCO's ids 1..90


def categories() -> list[dict[str, Any]]:
    """COCO's 80 categories, in the order of YOLO's class numbers.

    >>> categories()[0], categories()[79]
    ({'id': 1, 'name': 'person'}, {'id': 90, 'name': 'toothbrush'})
    """
    ids = [i for i in range(1, 91) if i not in UNUSED_IDS]
    names = [name.replace("_", " ") for name in NAMES.split()]
    return [{"id": i, "name": name} for i, name in zip(ids, names, strict=True)]


def convert(source: Path, out: Path, *, seed: int = 0, query_share: float = 0.5) -> None:
    """Write ``annotations/instances_{train,val}2017.json`` and links to the images.

    Args:
        source: Holds ``images/<folder>/<number>.jpg`` and ``labels/<folder>/<number>.txt``.
        out: Folder to write; links that are there already are replaced.
        seed: Of the split.
        query_share: Share of the images that become ``train2017``.
    """
    pictures = sorted((source / "images").glob("*/*.jpg"))
    order = np.random.default_rng(seed).permutation(len(pictures))
    cut = round(query_share * len(pictures))
    for split, chosen in (("train2017", order[:cut]), ("val2017", order[cut:])):
        (out / split).mkdir(parents=True, exist_ok=True)
        for link in (out / split).glob("*.jpg"):
            link.unlink()
        images, annotations = [], []
        for picture in (pictures[i] for i in sorted(chosen)):
            (out / split / picture.name).symlink_to(picture.resolve())
            image, objects = describe(picture, source / "labels" / picture.parent.name)
            images.append(image)
            annotations += objects
        document = {"images": images, "annotations": annotations, "categories": categories()}
        target = out / "annotations" / f"instances_{split}.json"
        target.parent.mkdir(exist_ok=True)
        target.write_text(json.dumps(document))


def describe(picture: Path, labels: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """COCO's entry of an image, and those of its objects; no label file, no objects."""
    height, width = read_image(picture).shape[:2]
    number = int(picture.stem)
    image = {"id": number, "file_name": picture.name, "height": height, "width": width}
    text = labels / f"{picture.stem}.txt"
    lines = text.read_text().splitlines() if text.is_file() else []
    known = categories()
    objects = []
    for index, line in enumerate(lines):
        kind, *numbers = line.split()
        corners = np.array(numbers, np.float64).reshape(-1, 2) * (width, height)
        polygons = [corners.ravel().round(2).tolist()]
        low, high = corners.min(axis=0), corners.max(axis=0)
        objects.append(
            {
                "id": number * 1000 + index,
                "image_id": number,
                "category_id": known[int(kind)]["id"],
                "segmentation": polygons,
                "area": float(decode_coco(polygons, (height, width)).sum()),
                "bbox": [*low.tolist(), *(high - low).tolist()],
                "iscrowd": 0,
            }
        )
    return image, objects


def main(argv: Sequence[str] | None = None) -> int:
    """Convert one folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--source", type=Path, required=True, help="folder with images/, labels/")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--seed", type=int, default=0, help="of the split (0)")
    parser.add_argument("--query-share", type=float, default=0.5, help="share of queries (0.5)")
    args = parser.parse_args(argv)
    convert(args.source, args.out, seed=args.seed, query_share=args.query_share)
    return 0


if __name__ == "__main__":
    sys.exit(main())
