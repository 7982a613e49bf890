"""Where training regions come from, behind one interface.

A source lists pictures; reading one gives the picture, its region masks and the name of each
region. Pictures of one group share region names: the same name in two of them is the same object.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from ren_core.errors import DataError
from ren_core.geometry import Mask
from ren_core.images import Image, list_images, read_image
from ren_core.regions import Masks, decode_coco
from ren_core.stages import file_fingerprint


@dataclass(frozen=True, slots=True)
class RegionImage:
    """A picture and its regions.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        masks: (M, H, W) bool; may overlap; M may be 0.
        names: (M,) int64, unique within the picture; equal names in pictures of one group are the
            same object.
    """

    image: Image
    masks: Masks
    names: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Entry:
    """One picture of a source: the file, and its label files if there are any.

    Attributes:
        group: Pictures of one group share region names; a lone picture is a group of its own.
        image: Path of the picture.
        labels: Alternative label files of that picture; one is drawn per reading.
        video: The video that the picture comes from; empty: its group. A video is never split
            between training and validation, even if its pictures share no region names.
    """

    group: str
    image: Path
    labels: tuple[Path, ...] = ()
    video: str = ""


class RegionSource(Protocol):
    """Pictures with region masks."""

    @property
    def entries(self) -> Sequence[Entry]:
        """All pictures, in a fixed order."""
        ...

    @property
    def settings(self) -> object:
        """What decides the regions besides the files of the entries; plain values, no paths."""
        ...

    def read(self, index: int, variant: int = 0) -> RegionImage:
        """Read picture ``index``; ``variant`` chooses among alternative labellings, cyclically."""
        ...


@dataclass(frozen=True, slots=True)
class LabelMapSource:
    """Pictures whose regions are the values of an 8- or 16-bit label map.

    Attributes:
        entries: The pictures with their label maps.
        nothing: Label values that are no region.
        min_pixels: Smaller regions are left out.
    """

    entries: Sequence[Entry]
    nothing: tuple[int, ...] = (0,)
    min_pixels: int = 64

    @property
    def settings(self) -> object:
        """The values and the sizes that are left out."""
        return {"nothing": self.nothing, "min_pixels": self.min_pixels}

    def read(self, index: int, variant: int = 0) -> RegionImage:
        """Read one picture and one of its label maps."""
        entry = self.entries[index]
        image = read_image(entry.image)
        labels = read_labels(entry.labels[variant % len(entry.labels)])
        if labels.shape != image.shape[:2]:
            raise DataError(
                f"the label map of {entry.image} is {labels.shape[0]}x{labels.shape[1]}, the "
                f"picture {image.shape[0]}x{image.shape[1]} pixels; they must be equal"
            )
        values, counts = np.unique(labels, return_counts=True)
        kept = values[(counts >= self.min_pixels) & ~np.isin(values, self.nothing)]
        return RegionImage(image, labels[None] == kept[:, None, None], kept.astype(np.int64))


def bsds_source(root: Path, splits: Sequence[str] = ("train", "val", "test")) -> LabelMapSource:
    """BSDS500: every human segmentation of a picture is one alternative labelling.

    Args:
        root: Holds ``images/<split>/<id>.jpg`` and ``segmentations/<split>/<id>_<annotator>.png``.
        splits: Which splits to take.
    """
    entries = []
    for split in splits:
        maps: dict[str, list[Path]] = defaultdict(list)
        for path in sorted((root / "segmentations" / split).glob("*.png")):
            maps[path.stem.rsplit("_", 1)[0]].append(path)
        for picture in list_images(root / "images" / split):
            if maps[picture.stem]:
                name = f"{split}/{picture.stem}"
                entries.append(Entry(name, picture, tuple(maps[picture.stem])))
    return LabelMapSource(_not_empty(entries, root, "BSDS pictures with segmentations"))


def label_folder_source(
    images: Path, labels: Path, *, nothing: tuple[int, ...] = (0,)
) -> LabelMapSource:
    """Pictures of one folder and label maps of the same stem (PNG) in another; no shared objects.

    Pictures without a label map are left out.
    """
    entries = [
        Entry(picture.stem, picture, (labels / f"{picture.stem}.png",))
        for picture in list_images(images)
        if (labels / f"{picture.stem}.png").is_file()
    ]
    found = _not_empty(entries, images, f"pictures with a label map of their name in {labels}")
    return LabelMapSource(found, nothing)


def scene_source(root: Path, *, min_pixels: int = 64) -> LabelMapSource:
    """Videos with tracked instance ids: one folder per scene, ``00000.jpg`` beside ``00000.png``.

    An id means the same object in every frame of its scene; 0 is nothing. Folders without
    ``truth.json`` are still being written and are left out.
    """
    entries = []
    for truth in sorted(root.glob("*/truth.json")):
        for picture in list_images(truth.parent, suffixes=(".jpg",)):
            entries.append(Entry(truth.parent.name, picture, (picture.with_suffix(".png"),)))
    found = _not_empty(entries, root, "scenes (folders with truth.json)")
    return LabelMapSource(found, min_pixels=min_pixels)


@dataclass(frozen=True, slots=True)
class YoloPolygonSource:
    """Pictures with polygons in YOLO text form: ``class x y x y ...``, normalised to 0..1.

    Polygons of one line are one instance. Where instances overlap, the smaller one is on top.
    """

    entries: Sequence[Entry]
    settings: object = None

    def read(self, index: int, variant: int = 0) -> RegionImage:
        """Read one picture; a picture without a label file has no regions."""
        entry = self.entries[index]
        image = read_image(entry.image)
        size_hw = (image.shape[0], image.shape[1])
        lines = entry.labels[0].read_text().splitlines() if entry.labels else []
        masks = [_polygon_mask(line, size_hw, entry.labels[0]) for line in lines if line.strip()]
        return disjoint(image, masks)


def yolo_source(images: Path, labels: Path) -> YoloPolygonSource:
    """Every picture of a folder, with the polygons in ``<labels>/<stem>.txt`` if it exists."""
    entries = []
    for picture in list_images(images):
        text = labels / f"{picture.stem}.txt"
        entries.append(Entry(picture.stem, picture, (text,) if text.is_file() else ()))
    return YoloPolygonSource(_not_empty(entries, images, "pictures"))


@dataclass(frozen=True, slots=True)
class CocoSource:
    """COCO instance annotations: polygons or RLE; crowds are left out; overlaps stay.

    Attributes:
        entries: The pictures.
        annotations: The annotations of every picture, as in the JSON file.
        settings: Content of that file.
    """

    entries: Sequence[Entry]
    annotations: Sequence[Sequence[dict[str, Any]]] = field(repr=False)
    settings: object = None

    def read(self, index: int, variant: int = 0) -> RegionImage:
        """Read one picture and its instances."""
        image = read_image(self.entries[index].image)
        H, W = image.shape[:2]
        masks = [decode_coco(a["segmentation"], (H, W)) for a in self.annotations[index]]
        return RegionImage(image, stack_masks(masks, (H, W)), np.arange(len(masks)))


def coco_source(images: Path, annotation_file: Path) -> CocoSource:
    """Pictures and instances of a COCO ``instances_*.json``; pictures without one are kept."""
    if not annotation_file.is_file():
        raise DataError(f"no COCO annotations at {annotation_file}; give the instances_*.json file")
    document = json.loads(annotation_file.read_text())
    by_image: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for annotation in document["annotations"]:
        if not annotation.get("iscrowd"):
            by_image[annotation["image_id"]].append(annotation)
    rows = sorted(document["images"], key=lambda row: int(row["id"]))
    entries = [Entry(str(row["id"]), images / row["file_name"]) for row in rows]
    annotations = [by_image[row["id"]] for row in rows]
    return CocoSource(entries, annotations, {"annotations": file_fingerprint(annotation_file)})


@dataclass(frozen=True, slots=True)
class Subset:
    """Some pictures of a source."""

    source: RegionSource
    indices: Sequence[int]

    @property
    def entries(self) -> Sequence[Entry]:
        """The chosen pictures."""
        return [self.source.entries[i] for i in self.indices]

    @property
    def settings(self) -> object:
        """Those of the whole source."""
        return self.source.settings

    def read(self, index: int, variant: int = 0) -> RegionImage:
        """Read chosen picture ``index``."""
        return self.source.read(self.indices[index], variant)


def subset(source: RegionSource, take_every: int) -> RegionSource:
    """Every n-th picture of a source; the source itself for 1."""
    if take_every == 1:
        return source
    return Subset(source, range(0, len(source.entries), take_every))


def picture_fingerprints(source: RegionSource) -> list[str]:
    """Group, name and file contents of every picture, in one text each; no folders.

    Raises:
        DataError: If a file is missing.
    """
    return [
        " ".join(
            [f"{entry.group}/{entry.image.name}", *map(file_identity, (entry.image, *entry.labels))]
        )
        for entry in source.entries
    ]


def file_identity(path: Path) -> str:
    """Fingerprint of a picture or label file, which must be there.

    Raises:
        DataError: If it is missing.
    """
    if not path.is_file():
        raise DataError(f"{path} is missing; check the data folder")
    return file_fingerprint(path)


def disjoint(image: Image, masks: Sequence[Mask]) -> RegionImage:
    """Instances as regions that do not overlap: where several cover a pixel, the smallest wins."""
    labels = np.full(image.shape[:2], -1, np.int64)
    for name in sorted(range(len(masks)), key=lambda k: -int(masks[k].sum())):
        labels[masks[name]] = name
    names = np.unique(labels[labels >= 0])
    return RegionImage(image, labels[None] == names[:, None, None], names)


def middle_region(masks: Masks) -> NDArray[np.int32]:
    """The mid-sized region of every pixel, (H, W), as an index into the masks (M, H, W).

    Of the n masks that cover a pixel, sorted by area, number n // 2 is taken; -1 where none does.

    >>> nested = np.zeros((3, 1, 3), bool)
    >>> nested[0, 0, :] = nested[1, 0, :2] = nested[2, 0, :1] = True
    >>> middle_region(nested).tolist()
    [[1, 0, 0]]
    """
    order = np.argsort(masks.sum(axis=(1, 2)), kind="stable")
    count = masks.sum(axis=0)
    wanted = count // 2
    seen = np.zeros(masks.shape[1:], np.int64)
    chosen = np.full(masks.shape[1:], -1, np.int32)
    for index in order:
        chosen[masks[index] & (seen == wanted)] = index
        seen += masks[index]
    return chosen


def stack_masks(masks: Sequence[Mask], size_hw: tuple[int, int]) -> Masks:
    """Masks (M, H, W) of a list, also of an empty one."""
    return np.stack(masks) if masks else np.zeros((0, *size_hw), bool)


def read_labels(path: Path) -> NDArray[np.uint16]:
    """A label map (H, W) of a one-channel 8- or 16-bit PNG.

    Raises:
        DataError: If the file is missing or has several channels.
    """
    labels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if labels is None or labels.ndim != 2:
        raise DataError(f"{path} must be a one-channel PNG whose values are region labels")
    return labels.astype(np.uint16)


def _polygon_mask(line: str, size_hw: tuple[int, int], path: Path) -> Mask:
    numbers = np.array(line.split()[1:], np.float64)
    if len(numbers) < 6 or len(numbers) % 2:
        raise DataError(
            f"{path}: a polygon needs an even number of at least 6 coordinates after the class, "
            f"got {len(numbers)}"
        )
    corners = numbers.reshape(-1, 2) * (size_hw[1], size_hw[0]) - 0.5
    canvas = np.zeros(size_hw, np.uint8)
    cv2.fillPoly(canvas, [corners.round().astype(np.int32)], 1)
    return canvas.astype(bool)


def _not_empty(entries: list[Entry], root: Path, what: str) -> list[Entry]:
    if not entries:
        raise DataError(f"found no {what} in {root}; see data/README.md for the expected layout")
    return entries
