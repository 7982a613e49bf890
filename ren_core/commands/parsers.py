"""The options of every command about tokens and training; nothing here needs torch.

Names that are declared beside code which needs torch are repeated here; a test holds both equal.
"""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path

from ren_core.command import add_fields
from ren_core.commands.command_line import Command
from ren_core.executor.options import add_executor_options
from ren_core.sam2.settings import SIZES, Sam2MaskConfig

ENCODERS = (
    "dino-vitb8",
    "dinov2-vits14",
    "dinov2-vitb14",
    "dinov2-vitl14",
    "dinov3-vitl16",
    "openclip-vitg14",
    "embedded",
)
RECIPES = (
    "dino-vitb8",
    "dino-vitb8-coco",
    "dino-vitb8-release",
    "dinov2-vitl14",
    "dinov2-vitl14-coco",
    "dinov2-vitl14-release",
    "embedded",
    "openclip-vitg14",
    "openclip-vitg14-coco",
    "openclip-vitg14-release",
)
PRECISIONS = ("fp32", "bf16", "fp16")
STARTS = ("random", "local")
QUERIES = ("points", "learned")
SCOPES = ("batch", "image")


def add_regions(parser: argparse.ArgumentParser) -> None:
    """Draw what REN makes of an image: prompts, aggregated regions, attention of chosen points."""
    parser.add_argument("images", type=Path, nargs="+", metavar="IMAGE", help="image files")
    parser.add_argument("--out", type=Path, required=True, help="folder for the pictures")
    parser.add_argument("--model", default="embedded", help="preset or head file (embedded)")
    parser.add_argument(
        "--points",
        type=float,
        nargs="+",
        metavar="Y X",
        help="points (row column, in pixels) whose attention is drawn "
        "(default: the largest regions)",
    )
    parser.add_argument("--merge-similarity", type=float, help="merge by this cosine")
    parser.add_argument("--regions", type=int, help="merge into at most so many regions")
    parser.add_argument("--grid-size", type=int, help="prompts per side")
    parser.add_argument("--input-size", type=int, help="side of the model's square image, px")
    parser.add_argument("--device", default="cpu", help="torch device, such as cuda (cpu)")


def add_train(parser: argparse.ArgumentParser) -> None:
    r"""Train a region encoder on images with region masks.

    The head that ships here, from nothing (prepare the data first, see data/README.md):

        vq2d train --recipe embedded --out runs/embedded \
            --bsds DATA/bsds500 --scenes SCENES

    A killed run goes on where it was if the same command is given again. On several GPUs:
    ``torchrun --nproc-per-node N -m vq2d train ... --device cuda``.
    """
    parser.add_argument("--recipe", choices=RECIPES, default="embedded", help="what to train")
    add_run_options(parser, file="ren.safetensors", cached="views")
    parser.add_argument("--workers", type=int, default=0, help="processes that draw views ahead")

    data = parser.add_argument_group("region masks (one or more)")
    add_mask_data(data)
    data.add_argument("--yolo", type=Path, nargs=2, help="pictures, and polygons as YOLO text")
    data.add_argument("--labels", type=Path, nargs=2, help="pictures, and PNG label maps")

    add_overrides(parser)


def add_train_masks(parser: argparse.ArgumentParser) -> None:
    r"""Train a promptable mask head on things with masks.

    The head that ships here, from nothing (prepare the data first, see data/README.md):

        vq2d train-masks --out runs/masks/s42 --coco128 DATA/coco128_seg \
            --clothing DATA/clothing_ccp --things THINGS --bsds DATA/bsds500 --scenes SCENES

    A killed run goes on where it was if the same command is given again. With a GPU and SAM 2,
    for a larger encoder, on the masks of any pictures:

        vq2d extract-regions --images PICTURES --out STORES --device cuda
        vq2d train-masks --out DIR --regions STORES/regions-... --encoder dinov2-vitl14 \
            --device cuda
    """
    add_run_options(parser, file="mask_head.safetensors", cached="windows")
    parser.add_argument("--encoder", choices=ENCODERS, default="embedded", help="frozen encoder")
    parser.add_argument("--steps", type=int, help="optimiser steps")
    parser.add_argument("--seed", type=int, help="of weights, batches and prompts")
    parser.add_argument("--learning-rate", type=float, help="peak")
    parser.add_argument("--precision", choices=PRECISIONS, help="of the training")

    data = parser.add_argument_group("things with masks (one or more)")
    data.add_argument("--coco128", type=Path, help="images/train2017, labels/train2017 (YOLO text)")
    data.add_argument("--clothing", type=Path, help="images/, and label maps in labels/")
    data.add_argument("--things", type=Path, help="whole things: images/, and masks in labels/")
    add_mask_data(data)


def add_extract_regions(parser: argparse.ArgumentParser) -> None:
    """Store the region masks of a folder of pictures, for vq2d train --regions.

    Subfolders are videos, as `vq2d extract-frames` writes them: a training keeps all frames of
    a video on the same side of the border between training and validation.
    """
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
    add_executor_options(parser)


def add_fetch_weights(parser: argparse.ArgumentParser) -> None:
    """Fetch weight files into the cache, or list them."""
    parser.add_argument(
        "names", nargs="*", default=["embedded"], help="'embedded' (default), 'all', or names"
    )
    parser.add_argument("--list", action="store_true", help="show every file and stop")
    parser.add_argument("--file", type=Path, help="take this local copy of the file to be fetched")


def add_overrides(parser: argparse.ArgumentParser) -> None:
    """Options that replace single values of the recipe."""
    science = parser.add_argument_group("overrides of the recipe")
    for name, kind in (("steps", int), ("warmup", int), ("pairs", int), ("accumulation", int)):
        science.add_argument(f"--{name}", type=kind, default=argparse.SUPPRESS, help="count")
    for name in ("learning-rate", "weight-decay", "max-grad-norm", "dropout", "sharpness"):
        science.add_argument(f"--{name}", type=float, default=argparse.SUPPRESS, help="number")
    science.add_argument("--seed", type=int, default=argparse.SUPPRESS, help="of everything")
    science.add_argument("--validate-every", type=int, default=argparse.SUPPRESS, help="steps")
    science.add_argument("--checkpoint-every", type=int, default=argparse.SUPPRESS, help="steps")
    choices = {"precision": PRECISIONS, "start": STARTS, "queries": QUERIES, "scope": SCOPES}
    for name, allowed in choices.items():
        science.add_argument(f"--{name}", choices=allowed, default=argparse.SUPPRESS, help="choice")
    for name in ("contrast", "feature", "relation", "attention"):
        science.add_argument(
            f"--{name}", type=float, default=argparse.SUPPRESS, help="weight of this loss"
        )
    science.add_argument("--temperature", type=float, default=argparse.SUPPRESS, help="InfoNCE")
    add_switch(science, "--keep-null", "prompts without a region count as one in the contrast")
    add_switch(science, "--null-prompts", "draw prompts also where no region is")
    science.add_argument("--prompts", type=int, default=argparse.SUPPRESS, help="per view")
    science.add_argument(
        "--balance", type=float, default=argparse.SUPPRESS, help="0 by pixels .. 1 by regions"
    )
    science.add_argument(
        "--keep-start",
        type=float,
        default=argparse.SUPPRESS,
        help="share of the weights before training",
    )
    science.add_argument(
        "--held-out-every",
        type=int,
        default=argparse.SUPPRESS,
        help="every such video or picture is for validation",
    )
    science.add_argument(
        "--no-cross-frame", action="store_true", help="both views of a pair from one picture"
    )


def add_switch(group: argparse._ArgumentGroup, flag: str, meaning: str) -> None:
    """Add ``--flag`` and ``--no-flag``; without either the recipe decides."""
    group.add_argument(
        flag, action=argparse.BooleanOptionalAction, default=argparse.SUPPRESS, help=meaning
    )


def add_run_options(parser: argparse.ArgumentParser, *, file: str, cached: str) -> None:
    """Where a training runs, writes and stops.

    Args:
        parser: Of the command.
        file: Name of the file that it writes.
        cached: What it keeps encoded.
    """
    parser.add_argument("--out", type=Path, required=True, help="folder of caches, curves, states")
    parser.add_argument("--save", type=Path, help=f"file of the head (default: OUT/{file})")
    parser.add_argument("--cache", type=Path, help=f"encoded {cached}, shared by runs (OUT/cache)")
    parser.add_argument("--device", default="cpu", help="torch device")
    parser.add_argument("--threads", type=int, help="CPU threads (default: torch's own)")
    parser.add_argument("--stop-after", type=int, help="stop after so many steps, to go on later")


def add_mask_data(data: argparse._ArgumentGroup) -> None:
    """Pictures with masks that every training takes."""
    data.add_argument("--bsds", type=Path, help="BSDS500: images/<split>, segmentations/<split>")
    data.add_argument("--scenes", type=Path, help="rendered scenes with instance ids")
    data.add_argument("--coco", type=Path, nargs=2, help="pictures, and an instances_*.json")
    data.add_argument("--regions", type=Path, help="store made by `vq2d extract-regions`")


COMMANDS = {
    "regions": Command(add_regions, "ren_core.commands.regions"),
    "train": Command(add_train, "ren_core.commands.train"),
    "train-masks": Command(add_train_masks, "ren_core.commands.train_masks"),
    "extract-regions": Command(add_extract_regions, "ren_core.commands.extract_regions"),
    "fetch-weights": Command(add_fetch_weights, "ren_core.commands.fetch_weights"),
}
