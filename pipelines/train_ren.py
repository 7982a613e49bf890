r"""Train a region encoder on images with region masks.

The head that ships here, from nothing (prepare the data first, see data/README.md):

    python pipelines/train_ren.py --recipe embedded --out runs/embedded \
        --bsds DATA/bsds500 --yolo DATA/coco128_seg/images/train2017 \
        DATA/coco128_seg/labels/train2017 --scenes SCENES

A killed run goes on where it was if the same command is given again. On several GPUs: ``torchrun
--nproc-per-node N pipelines/train_ren.py ... --device cuda``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pipelines.shared.training import add_mask_data, add_run_options, run_command
from ren_core.command import typed_fields
from ren_core.errors import ConfigError
from ren_core.training.config import (
    PRECISIONS,
    QUERIES,
    SCOPES,
    STARTS,
    LossConfig,
    TrainConfig,
)
from ren_core.training.recipes import RECIPES, Recipe, SourceUse, recipe
from ren_core.training.rle_store import store_source
from ren_core.training.run import TrainJob, run_training
from ren_core.training.sources import (
    RegionSource,
    bsds_source,
    coco_source,
    label_folder_source,
    scene_source,
    yolo_source,
)
from ren_core.training.trainer import start_worker

KINDS = ("bsds", "yolo", "scenes", "coco", "labels", "regions")


def main(argv: Sequence[str] | None = None) -> int:
    """Train and write the head; 0 done, 1 failed, 2 usage."""
    return run_command(build_parser(), run, argv)


def run(args: argparse.Namespace) -> None:
    """Train and write the head."""
    job = TrainJob(
        recipe=with_overrides(recipe(args.recipe), args),
        sources=open_sources(args),
        out=args.out,
        target=args.save or args.out / "ren.safetensors",
        cache=args.cache,
        workers=args.workers,
        stop_after=args.stop_after,
    )
    seconds = run_training(job, start_worker(args.device))
    print(f"{job.target}  {seconds:.0f} s")


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--recipe", choices=sorted(RECIPES), default="embedded", help="what to train"
    )
    add_run_options(parser, file="ren.safetensors", cached="views")
    parser.add_argument("--workers", type=int, default=0, help="processes that draw views ahead")

    data = parser.add_argument_group("region masks (one or more)")
    add_mask_data(data)
    data.add_argument("--yolo", type=Path, nargs=2, help="pictures, and polygons as YOLO text")
    data.add_argument("--labels", type=Path, nargs=2, help="pictures, and PNG label maps")

    add_overrides(parser)
    return parser


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


def with_overrides(base: Recipe, args: argparse.Namespace) -> Recipe:
    """The recipe with the values of the command line in place of its own."""
    typed = vars(args)
    loss, train = typed_fields(args, LossConfig), typed_fields(args, TrainConfig)
    names = {"prompts": "count", "balance": "balance", "null_prompts": "null_prompts"}
    sampling = {field: typed[flag] for flag, field in names.items() if flag in typed}
    whole = {name: typed[name] for name in ("keep_start", "held_out_every") if name in typed}
    uses = dict(base.sources)
    if args.no_cross_frame:
        for kind in {*uses, *(kind for kind in KINDS if typed[kind])}:
            uses[kind] = replace(uses.get(kind, SourceUse()), cross_frame=False)
    train_config = replace(
        base.train,
        **train,
        loss=replace(base.train.loss, **loss),
        sampling=replace(base.train.sampling, **sampling),
    )
    return replace(base, train=train_config, sources=uses, **whole)


def open_sources(args: argparse.Namespace) -> dict[str, RegionSource]:
    """The sources that were given, by kind.

    Raises:
        ConfigError: If there is none.
    """
    sources: dict[str, RegionSource] = {}
    if args.bsds:
        sources["bsds"] = bsds_source(args.bsds)
    if args.yolo:
        sources["yolo"] = yolo_source(*args.yolo)
    if args.scenes:
        sources["scenes"] = scene_source(args.scenes)
    if args.coco:
        sources["coco"] = coco_source(*args.coco)
    if args.labels:
        sources["labels"] = label_folder_source(*args.labels)
    if args.regions:
        sources["regions"] = store_source(args.regions)
    if not sources:
        raise ConfigError(f"give at least one of {', '.join(f'--{kind}' for kind in KINDS)}")
    return sources


if __name__ == "__main__":
    sys.exit(main())
