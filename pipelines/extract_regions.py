"""Store the region masks of a folder of pictures, for pipelines/train_ren.py --regions.

Subfolders are videos, as pipelines/extract_frames.py writes them: a training keeps all frames of
a video on the same side of the border between training and validation.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import torch

from ren_core.command import add_fields, exit_code, typed_fields
from ren_core.errors import DataError
from ren_core.images import list_image_tree
from ren_core.sam2.masks import Sam2MaskConfig, Sam2Masks
from ren_core.sam2.model import SIZES, Sam2Model, find_checkpoint
from ren_core.stages import file_fingerprint
from ren_core.training.rle_store import extract_regions


def main(argv: Sequence[str] | None = None) -> int:
    """Extract what is not stored yet; 0 done, 1 failed, 2 usage."""
    args = build_parser().parse_args(argv)
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


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--images", type=Path, required=True, help="pictures, also in subfolders: one per video"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the stores")
    parser.add_argument("--model", choices=sorted(SIZES), default="sam2.1_hiera_l", help="SAM 2.1")
    parser.add_argument("--checkpoint", type=Path, help="its .pt file (default: the fetched one)")
    parser.add_argument("--device", default="cpu", help="torch device")
    parser.add_argument("--limit", type=int, help="number of pictures (default: all)")
    parser.add_argument("--take-every", type=int, default=1, help="use every n-th picture only")
    parser.add_argument("--shard-size", type=int, default=500, help="pictures per shard")
    meanings = {field.name: "of the generator" for field in fields(Sam2MaskConfig)}
    add_fields(parser, Sam2MaskConfig, meanings)
    return parser


if __name__ == "__main__":
    sys.exit(main())
