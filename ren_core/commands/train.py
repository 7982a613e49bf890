r"""Train a region encoder on images with region masks.

The head that ships here, from nothing (prepare the data first, see data/README.md):

    python pipelines/train_ren.py --recipe embedded --out runs/embedded \
        --bsds DATA/bsds500 --scenes SCENES

A killed run goes on where it was if the same command is given again. On several GPUs: ``torchrun
--nproc-per-node N pipelines/train_ren.py ... --device cuda``.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace

from ren_core.command import typed_fields
from ren_core.commands.parsers import COMMANDS
from ren_core.commands.shared import run_command
from ren_core.errors import ConfigError
from ren_core.training.config import (
    LossConfig,
    TrainConfig,
)
from ren_core.training.held_out import without_held_out
from ren_core.training.recipes import Recipe, SourceUse, recipe
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
    return run_command(COMMANDS["train"].parser(), run, argv)


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
    """The sources that were given, by kind, without the pictures that nothing learns from.

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
    return {kind: without_held_out(source) for kind, source in sources.items()}
