"""What every command on segmentation works on: its options, the model, both splits, the recipe."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from eval.segmentation.config import HEAD_PRESETS, Method, SegmentationConfig
from eval.segmentation.data import LAYOUTS, TRAINING, SegmentationSet, open_set, shared_images
from eval.segmentation.predict import Encode, direct_encode, stored_encode
from ren_core.errors import ConfigError
from ren_core.model import REN

PRECISIONS = ("float32", "bfloat16", "float16")


@dataclass(frozen=True, slots=True)
class Job:
    """Everything that a comparison works on."""

    ren: REN
    config: SegmentationConfig
    encode: Encode
    training: SegmentationSet
    evaluated: SegmentationSet

    @property
    def trained_on(self) -> int:
        """How many of the scored images the heads are trained on."""
        return shared_images(self.training, self.evaluated)

    @property
    def caveat(self) -> str:
        """What must be said beside figures of training images; nothing if there are none."""
        if not self.trained_on:
            return ""
        return (
            f"{self.trained_on} of the {len(self.evaluated.examples)} scored images are training "
            f"images: these figures show how well the heads fit, not how well they segment"
        )


def add_job_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments that every command on segmentation has."""
    add = parser.add_argument
    add("--dataset", choices=list(LAYOUTS), required=True, help="which set")
    add("--data", type=Path, required=True, help="its folder, see data/README.md")
    add("--split", help="split to score (the set's standard one)")
    add("--score-training-images", action="store_true",
        help="allow a split that holds training images; the results say so")  # fmt: skip
    add("--model", default="embedded", help="preset or head file (embedded)")
    add("--input-size", type=int, help="side of the model's square image, px (its own)")
    add("--preset", choices=list(HEAD_PRESETS), default="small", help="training recipe (small)")
    add("--epochs", type=int, help="rounds over the training images (the recipe's)")
    add("--batch", type=int, help="images per step (the recipe's)")
    add("--grid-size", type=int, help="prompts per side (the model's own)")
    add("--seeds", type=int, nargs="+", default=(0, 1, 2), help="one training each (0 1 2)")
    add("--limit", type=int, help="images of each split (all)")
    add("--cache", type=Path, help="folder of stored features (OUT/cache)")
    add("--workers", type=int, default=0, help="processes that augment images (0)")
    add("--threads", type=int, default=1, help="CPU threads (1)")
    add("--device", default="cpu", help="torch device, such as cuda (cpu)")
    add("--dtype", choices=PRECISIONS, default="float32", help="of encoder and REN (float32)")
    add("--out", type=Path, default=Path("runs/segmentation"), help="folder of the results")


def load_model(args: argparse.Namespace) -> REN:
    """The region model of the command line."""
    torch.set_num_threads(args.threads)
    size = {} if args.input_size is None else {"input_size": args.input_size}
    return REN.from_pretrained(
        args.model, device=args.device, dtype=getattr(torch, args.dtype), **size
    )


def open_job(args: argparse.Namespace, ren: REN, methods: tuple[Method, ...]) -> Job:
    """Open both splits; features are stored where the recipe augments nothing.

    Raises:
        ConfigError: If training images would be scored without being asked for.
    """
    layout = LAYOUTS[args.dataset]
    split = args.split or layout.evaluated
    evaluated, training = (
        open_set(args.dataset, args.data, name, limit=args.limit) for name in (split, TRAINING)
    )
    overlap = split in layout.with_training_images or shared_images(training, evaluated)
    if overlap and not args.score_training_images:
        raise ConfigError(
            f"{layout.title} {split} holds images that the heads are trained on; score "
            f"{layout.evaluated!r}, or say --score-training-images to measure the fit on purpose"
        )
    given = {"epochs": args.epochs, "batch": args.batch}
    head = replace(HEAD_PRESETS[args.preset], **{k: v for k, v in given.items() if v is not None})
    if args.epochs is not None:
        head = replace(head, steps=None)
    config = SegmentationConfig(
        methods=methods,
        head=head,
        grid_size=args.grid_size or ren.config.grid_size,
        seeds=tuple(args.seeds),
    )
    reused = head.augmentation == "none" and not head.slide  # the same pictures again and again
    encode = stored_encode(ren, args.cache or args.out / "cache") if reused else direct_encode(ren)
    return Job(ren, config, encode, training, evaluated)
