"""Fit the whitening statistics that ship with the embedded encoder."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ren_core.command import exit_code
from ren_core.encoders.catalog import EMBEDDED, load_embedded
from ren_core.encoders.embedded import (
    CompositeSources,
    Source,
    save_composite,
    whitening_asset,
)
from ren_core.encoders.whitening import Part, fit_composite
from ren_core.errors import ConfigError, DataError
from ren_core.images import list_image_tree
from ren_core.progress import tqdm
from ren_core.stages import atomic_path
from ren_core.training.held_out import held_out_names

logger = logging.getLogger(__name__)

FOLDERS = ("bsds500/images/train", "bsds500/images/val")
DEFAULT_PARTS = ("vit.6:128:0.7", "vit.8:160:1.0", "mobilenet.13:96:1.0")


def main(argv: Sequence[str] | None = None) -> int:
    """Fit and write; 0 done, 1 failed, 2 usage."""
    args = build_parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    return exit_code(lambda: run(args))


def run(args: argparse.Namespace) -> None:
    """Fit and write."""
    files = find_files(args.data, args.pictures, args.every)
    parts = [parse_part(text) for text in args.parts]
    spec = replace(EMBEDDED.resized(args.input_size), dim=sum(p.dim for p in parts))
    sources = CompositeSources(tuple(p.source for p in parts), spec.input_size).eval()
    load_embedded(sources, grid=spec.grid)
    composite = fit_composite(read_images(files), sources, parts, spec)
    with atomic_path(args.out) as tmp:
        save_composite(composite, tmp)
    logger.info("whitening of %d dimensions from %d images: %s", spec.dim, len(files), args.out)


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="folder of bsds500, see data/README.md")
    parser.add_argument(
        "--pictures", type=Path, help="folder of other pictures, with all folders in it (*.jpg)"
    )
    parser.add_argument("--out", type=Path, default=whitening_asset(), help="file to write")
    parser.add_argument("--every", type=int, default=3, help="take every n-th image of each (3)")
    parser.add_argument("--input-size", type=int, help="pixels (default: the encoder's own)")
    parser.add_argument(
        "--parts", nargs="+", default=DEFAULT_PARTS, help="network.layer:dimensions:weight"
    )
    return parser


def parse_part(text: str) -> Part:
    """A part as written on the command line, such as ``vit.10:192:1.0``."""
    try:
        name, dim, weight = text.split(":")
        network, layer = name.split(".")
        return Part(Source(network, int(layer)), int(dim), float(weight))
    except ValueError as err:
        raise ConfigError(f"a part is network.layer:dimensions:weight, got {text!r}") from err


def find_files(data: Path | None, pictures: Path | None, every: int) -> list[Path]:
    """Every n-th photograph, then every n-th of the other pictures.

    Raises:
        ConfigError: If neither folder is given.
        DataError: If a folder has no picture.
    """
    if data is None and pictures is None:
        raise ConfigError("no pictures to fit on: give --data, --pictures or both")
    photographs = find_images(data) if data is not None else []
    others = find_pictures(pictures) if pictures is not None else []
    return [*photographs[::every], *others[::every]]


def find_images(data: Path) -> list[Path]:
    """The photographs of the training folders, sorted; test images are left out."""
    found = [file for folder in FOLDERS for file in sorted((data / folder).glob("*.jpg"))]
    if not found:
        raise DataError(f"no images in {data}/{FOLDERS[0]}; pass their root with --data")
    return found


def find_pictures(folder: Path) -> list[Path]:
    """All pictures of a folder and of the folders in it, sorted; held-out ones are left out."""
    held_out = held_out_names()
    found = [file for file in list_image_tree(folder, (".jpg",)) if file.stem not in held_out]
    if not found:
        raise DataError(f"no *.jpg in {folder}; pass a folder of pictures with --pictures")
    return found


def read_images(files: Sequence[Path]) -> Iterator[Tensor]:
    """Images (3, H, W), float RGB in 0..1."""
    for file in tqdm(files, disable=None):
        pixels = np.asarray(Image.open(file).convert("RGB"))
        yield torch.from_numpy(pixels.copy()).permute(2, 0, 1).float() / 255


if __name__ == "__main__":
    sys.exit(main())
