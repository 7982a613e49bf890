"""Store the region masks of a folder of pictures, for pipelines/train_ren.py --regions.

Subfolders are videos, as pipelines/extract_frames.py writes them: a training keeps all frames of
a video on the same side of the border between training and validation.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence

import torch

from ren_core.command import exit_code, typed_fields
from ren_core.commands.parsers import COMMANDS
from ren_core.errors import DataError
from ren_core.executor.options import chosen_executor
from ren_core.images import list_image_tree
from ren_core.sam2.model import find_checkpoint
from ren_core.sam2.settings import Sam2MaskConfig
from ren_core.stages import file_fingerprint
from ren_core.training.region_workers import Sam2Recipe
from ren_core.training.rle_store import extract_regions


def main(argv: Sequence[str] | None = None) -> int:
    """Extract what is not stored yet; 0 done, 1 failed, 2 usage."""
    args = COMMANDS["extract-regions"].parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    return exit_code(lambda: run(args))


def run(args: argparse.Namespace) -> None:
    """Extract what is not stored yet."""
    config = Sam2MaskConfig(**typed_fields(args, Sam2MaskConfig))
    pictures = list_image_tree(args.images)[:: args.take_every][: args.limit]
    if not pictures:
        raise DataError(f"no pictures in {args.images}; expected .jpg, .jpeg or .png files")
    executor = chosen_executor(args)
    dtype = torch.bfloat16 if args.device.startswith("cuda") else torch.float32
    weights = find_checkpoint(args.model, args.checkpoint).absolute()
    recipe = Sam2Recipe(args.model, weights, args.device, dtype, config)
    settings = {
        "model": args.model,
        "weights": file_fingerprint(weights),
        "dtype": str(dtype),
        "generator": config,
    }
    with executor.open(recipe, shared=args.out, expected=recipe.identity) as pool:
        store = extract_regions(
            [picture.absolute() for picture in pictures],
            pool,
            settings,
            out=args.out.absolute(),
            shard_size=args.shard_size,
            root=args.images.absolute(),
        )
    print(args.out / store.name)
