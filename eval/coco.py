"""COCO 2017 in its official layout: images, the categories they show, objects with masks."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ren_core.errors import DataError
from ren_core.geometry import Mask
from ren_core.regions import decode_coco

LAYOUT = (
    "annotations/instances_train2017.json, annotations/instances_val2017.json, train2017/*.jpg "
    "and val2017/*.jpg"
)
ZIPS = ("zips/train2017.zip", "zips/val2017.zip", "annotations/annotations_trainval2017.zip")
FETCH = "for z in {}; do curl -fLO http://images.cocodataset.org/$z && unzip -q ${{z##*/}}; done"
ADVICE = (
    f"--data must hold COCO 2017 in its official layout ({LAYOUT}); in that folder run "
    f"`{FETCH.format(' '.join(ZIPS))}`"
)


@dataclass(frozen=True, slots=True)
class CocoImage:
    """An image and the ids of every category annotated in it, crowds included."""

    image_id: int
    file: Path
    size_hw: tuple[int, int]
    categories: frozenset[int]


@dataclass(frozen=True, slots=True)
class CocoObject:
    """One annotated object that is no crowd; ``area`` is in pixels of its image."""

    annotation_id: int
    image_id: int
    category_id: int
    area: float
    segmentation: Any = field(repr=False)


@dataclass(frozen=True, slots=True)
class CocoSplit:
    """One ``instances_*.json``.

    Attributes:
        file: The annotation file.
        categories: Name of every category id, by ascending id.
        images: All images by id, ascending.
        objects: All objects by annotation id, ascending.
    """

    file: Path
    categories: Mapping[int, str]
    images: Mapping[int, CocoImage]
    objects: Mapping[int, CocoObject]

    def mask(self, found: CocoObject) -> Mask:
        """The object's mask (H, W) in pixels of its image.

        Raises:
            DataError: If the segmentation cannot be read or covers no pixel.
        """
        size_hw = self.images[found.image_id].size_hw
        try:
            mask = decode_coco(found.segmentation, size_hw)
        except Exception as err:  # pycocotools raises bare Exception
            raise DataError(
                f"{self.file}: the segmentation of annotation {found.annotation_id} is neither "
                f"polygons nor run lengths ({err}); fetch the file again"
            ) from err
        if not mask.any():
            raise DataError(f"{self.file}: annotation {found.annotation_id} covers no pixel")
        return mask


def load_split(root: Path, split: str) -> CocoSplit:
    """Read ``annotations/instances_<split>.json``; image files are looked at when they are needed.

    Args:
        root: The dataset's folder.
        split: ``"train2017"`` or ``"val2017"``.

    Raises:
        DataError: If the file or the image folder is missing, or the JSON is not COCO's.
    """
    file = root / "annotations" / f"instances_{split}.json"
    for needed in (file, root / split):
        if not needed.exists():
            raise DataError(f"{needed} is missing: {ADVICE}")
    try:
        document = json.loads(file.read_text())
        return _parse(document, file, root / split)
    except (KeyError, TypeError, ValueError) as err:
        raise DataError(
            f"{file} is no COCO instances file ({type(err).__name__}: {err}); fetch it again"
        ) from err


def _parse(document: dict[str, Any], file: Path, folder: Path) -> CocoSplit:
    shown: dict[int, set[int]] = defaultdict(set)
    objects = []
    for row in document["annotations"]:
        shown[row["image_id"]].add(row["category_id"])
        if not row.get("iscrowd"):
            numbers = (row["id"], row["image_id"], row["category_id"], float(row["area"]))
            objects.append(CocoObject(*numbers, row["segmentation"]))
    images = [
        CocoImage(
            row["id"],
            folder / row["file_name"],
            (row["height"], row["width"]),
            frozenset(shown[row["id"]]),
        )
        for row in document["images"]
    ]
    return CocoSplit(
        file,
        {c["id"]: c["name"] for c in sorted(document["categories"], key=lambda c: int(c["id"]))},
        {i.image_id: i for i in sorted(images, key=lambda i: i.image_id)},
        {o.annotation_id: o for o in sorted(objects, key=lambda o: o.annotation_id)},
    )
