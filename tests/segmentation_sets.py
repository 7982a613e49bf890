"""Tiny segmentation sets in the official layouts: coloured rectangles whose colour is the class."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from eval.segmentation.config import HeadConfig
from ren_core.drawing import palette

SIZE_HW = (48, 72)
QUICK = HeadConfig(epochs=30, batch=4, warmup=5, learning_rate=0.02, augmentation="none")


def picture_of(classes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """An RGB picture (H, W, 3) in which every class 0..254 has its own colour, with noise."""
    colours = palette(256)[classes].astype(int)
    return (colours + rng.integers(-6, 7, colours.shape)).clip(0, 255).astype(np.uint8)


def draw_classes(rng: np.random.Generator, classes: tuple[int, ...] = (0, 1, 2)) -> np.ndarray:
    """A class map: the first class everywhere, a block of each other one in its own column."""
    labels = np.full(SIZE_HW, classes[0], np.uint8)
    width = SIZE_HW[1] // len(classes)
    for i, value in enumerate(classes[1:], start=1):
        y = int(rng.integers(0, 16))
        labels[y : y + 28, i * width : i * width + width - 4] = value
    return labels


def example_image(seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """A picture (H, W, 3) and its class map."""
    classes = draw_classes(np.random.default_rng(seed))
    return picture_of(classes, np.random.default_rng(seed)), classes


def write_pair(image: Path, labels: Path, classes: np.ndarray, values: np.ndarray) -> None:
    """A picture, and its label map as a single-channel file."""
    rng = np.random.default_rng(int(classes.sum()))
    for path in (image, labels):
        path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture_of(classes, rng)).save(image, quality=95)
    Image.fromarray(values).save(labels)


def write_voc(root: Path, train: int = 6, val: int = 3) -> Path:
    """VOC2012: palette label maps with a void frame around every block."""
    base = root / "VOCdevkit" / "VOC2012"
    rng = np.random.default_rng(0)
    lists = base / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    for split, count in (("train", train), ("val", val)):
        names = [f"2007_{split}{i:02d}" for i in range(count)]
        (lists / f"{split}.txt").write_text("\n".join(names) + "\n")
        for name in names:
            classes = draw_classes(rng)
            values = classes.copy()
            values[0] = 255
            target = base / "SegmentationClass" / f"{name}.png"
            write_pair(base / "JPEGImages" / f"{name}.jpg", target, classes, values)
            indexed = Image.fromarray(values)
            indexed.putpalette(palette(256).ravel().tolist())
            indexed.save(target)
    return root


def write_ade(root: Path, train: int = 6, val: int = 3) -> Path:
    """ADE20K: labels count from 1, 0 is void; the last validation image has no label at all."""
    base = root / "ADEChallengeData2016"
    rng = np.random.default_rng(1)
    for part, count in (("training", train), ("validation", val)):
        for i in range(count):
            classes = draw_classes(rng, (3, 0, 149))
            values = classes + 1
            values[:, :2] = 0
            if part == "validation" and i == count - 1:
                values[:] = 0
            name = f"ADE_{part[:5]}_{i:08d}"
            write_pair(
                base / "images" / part / f"{name}.jpg",
                base / "annotations" / part / f"{name}.png",
                classes,
                values,
            )
    return root


def write_camvid(root: Path, count: int = 4) -> Path:
    """CamVid: folders beside each other, 11 is void; the data lie in the root itself."""
    rng = np.random.default_rng(2)
    for split in ("train", "val", "test"):
        for i in range(count):
            classes = draw_classes(rng, (0, 3, 8))
            values = classes.copy()
            values[-1] = 11
            name = f"0001TP_{i:06d}"
            image, labels = root / split / f"{name}.png", root / f"{split}annot" / f"{name}.png"
            write_pair(image, labels, classes, values)
    return root
