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
from ren_core.images import list_image_tree
from ren_core.sam2.masks import Sam2Masks
from ren_core.sam2.model import Sam2Model, find_checkpoint
from ren_core.sam2.settings import Sam2MaskConfig
from ren_core.stages import file_fingerprint
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
    dtype = torch.bfloat16 if args.device.startswith("cuda") else torch.float32
    weights = find_checkpoint(args.model, args.checkpoint)
    model = Sam2Model.from_checkpoint(args.model, weights, device=args.device, dtype=dtype)
    masks = Sam2Masks(model.network, config)
    settings = {
        "model": args.model,
        "weights": file_fingerprint(weights),
        "dtype": str(dtype),
        "generator": config,
    }
    with model.inference():
        store = extract_regions(
            pictures,
            masks,
            settings,
            out=args.out,
            shard_size=args.shard_size,
            root=args.images,
        )
    print(store)
