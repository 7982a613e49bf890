r"""Train a promptable mask head on things with masks.

The head that ships here, from nothing (prepare the data first, see data/README.md):

    python pipelines/train_masks.py --out runs/masks/s42 --coco128 DATA/coco128_seg \
        --clothing DATA/clothing_ccp --things THINGS --bsds DATA/bsds500 --scenes SCENES

A killed run goes on where it was if the same command is given again. With a GPU and SAM 2, for a
larger encoder, on the masks of any pictures:

    python pipelines/extract_regions.py --images PICTURES --out STORES --device cuda
    python pipelines/train_masks.py --out DIR --regions STORES/regions-... --encoder dinov2-vitl14 \
        --device cuda
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace

from ren_core.commands.parsers import COMMANDS
from ren_core.commands.shared import run_command
from ren_core.errors import ConfigError
from ren_core.training.held_out import without_held_out
from ren_core.training.masks.run import MaskJob, MaskRecipe, run_mask_training
from ren_core.training.masks.sources import PastedSource, PieceSource
from ren_core.training.rle_store import store_source
from ren_core.training.sources import (
    RegionSource,
    bsds_source,
    coco_source,
    label_folder_source,
    scene_source,
    yolo_source,
)
from ren_core.training.trainer import start_worker

LEAST_PIECE = 0.005
"""Smallest piece of a label map, as a share of its picture."""
FURNITURE = range(128, 256)
"""Instance ids of rendered scenes that are no things."""


def main(argv: Sequence[str] | None = None) -> int:
    """Train and write the head; 0 done, 1 failed, 2 usage."""
    return run_command(COMMANDS["train-masks"].parser(), run, argv)


def run(args: argparse.Namespace) -> None:
    """Train and write the head."""
    recipe = MaskRecipe(encoder=args.encoder)
    typed = {n: getattr(args, n) for n in ("steps", "seed", "learning_rate", "precision")}
    changes = {name: value for name, value in typed.items() if value is not None}
    if args.steps is not None:
        changes["warmup"] = min(recipe.train.warmup, args.steps // 10)
    job = MaskJob(
        recipe=replace(recipe, train=replace(recipe.train, **changes)),
        sources=open_sources(args),
        out=args.out,
        target=args.save or args.out / "mask_head.safetensors",
        cache=args.cache,
        stop_after=args.stop_after,
    )
    seconds = run_mask_training(job, start_worker(args.device))
    print(f"{job.target}  {seconds:.0f} s")


def open_sources(args: argparse.Namespace) -> dict[str, RegionSource]:
    """The sources that were given, by kind; things of COCO are put into other pictures too.

    Raises:
        ConfigError: If there is none.
    """
    sources: dict[str, RegionSource] = {}
    if args.coco128:
        folders = (args.coco128 / "images" / "train2017", args.coco128 / "labels" / "train2017")
        sources["coco"] = yolo_source(*folders)
    if args.coco:
        sources["coco"] = coco_source(*args.coco)
    for kind in ("clothing", "things"):
        folder = getattr(args, kind)
        if folder:
            labels = label_folder_source(folder / "images", folder / "labels")
            sources[kind] = PieceSource(labels, LEAST_PIECE, whole=True)
    if args.bsds:
        sources["bsds"] = PieceSource(bsds_source(args.bsds), LEAST_PIECE)
    if args.scenes:
        sources["scenes"] = replace(scene_source(args.scenes), nothing=(0, *FURNITURE))
    if args.regions:
        sources["regions"] = store_source(args.regions)
    if not sources:
        raise ConfigError(
            "give at least one of --coco128, --coco, --clothing, --things, --bsds, --scenes"
        )
    sources = {kind: without_held_out(source) for kind, source in sources.items()}
    things = sources.get("coco")
    if things is not None:
        pictures = sources.get("bsds", things)
        sources["pasted"] = PastedSource(things, pictures)
    return sources
