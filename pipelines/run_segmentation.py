"""Semantic segmentation: a linear head on patches against the same head on REN tokens.

    python pipelines/run_segmentation.py --dataset camvid --data DATA/camvid --preset small
    python pipelines/run_segmentation.py --dataset voc2012 --data DATA --model dinov2-vitl14 \
        --preset release --device cuda --dtype bfloat16 --workers 8

Heads are trained on the standard training split and scored on the standard evaluation split.
Training images are not scored unless that is asked for.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch

from eval.segmentation.compare import Score, evaluate, train
from eval.segmentation.config import HEAD_PRESETS, Method, SegmentationConfig
from eval.segmentation.data import LAYOUTS, TRAINING, SegmentationSet, open_set, shared_images
from eval.segmentation.predict import Encode, Heads, direct_encode, predict, stored_encode
from eval.segmentation.report import (
    class_table,
    comparison_row,
    comparison_sheet,
    method_table,
    summaries,
)
from ren_core.command import exit_code
from ren_core.errors import ConfigError, ShapeError
from ren_core.images import read_image
from ren_core.model import REN
from ren_core.stages import write_figures

KINDS = ("patches-grid", "patches-slic", "ren-grid", "ren-slic")
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


def main(argv: Sequence[str] | None = None) -> int:
    """Train, score, draw, write; 0 done, 1 failed, 2 usage."""
    args = build_parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    return exit_code(lambda: run(args), usage=(ConfigError, ShapeError))


def run(args: argparse.Namespace) -> None:
    """All steps in order; results in ``args.out``."""
    started = time.monotonic()
    ren = load_model(args)
    job = open_job(args, ren, chosen_methods(args.methods, merge_thresholds(args, ren)))
    heads = train(job.training, ren, job.config, job.encode, workers=args.workers)
    scores = evaluate(job.evaluated, ren, job.config, heads, job.encode)
    if args.pictures:
        draw_pictures(job, heads, args.pictures, args.out / "pictures.png")
    classes = job.evaluated.classes
    write_results(args, job, scores, time.monotonic() - started)
    parts = (method_table(scores), class_table(scores, classes), job.caveat, str(args.out))
    print("\n\n".join(part for part in parts if part))


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_job_arguments(parser)
    parser.add_argument(
        "--methods", nargs="+", choices=KINDS, default=("patches-grid", "ren-grid", "ren-slic"),
        help="tokens and prompts to compare",
    )  # fmt: skip
    parser.add_argument(
        "--merge", type=float, nargs="*", metavar="MU",
        help="also score REN tokens merged from this cosine (the model's own; nothing: no merging)",
    )  # fmt: skip
    parser.add_argument("--pictures", type=int, default=6, help="images to draw (6)")
    return parser


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


def merge_thresholds(args: argparse.Namespace, ren: REN) -> Sequence[float]:
    """The cosines of ``--merge``; the model's own if it was not given."""
    return [ren.config.merge_similarity] if args.merge is None else args.merge


def chosen_methods(kinds: Sequence[str], thresholds: Sequence[float]) -> tuple[Method, ...]:
    """Every kind by itself, and REN's kinds merged from every threshold."""
    methods = []
    for kind in kinds:
        source, prompting = kind.split("-")
        method = Method(source=source, prompting=prompting)
        merged = [replace(method, merge_similarity=mu) for mu in thresholds]
        methods += [method, *(merged if source == "ren" else ())]
    return tuple(methods)


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


def draw_pictures(job: Job, heads: Mapping[int, Heads], count: int, target: Path) -> None:
    """Image, truth and the first seed's predictions for some images, as in the paper's Figure 5."""
    data, config = job.evaluated, job.config
    first = dict([next(iter(heads.items()))])
    chosen = np.linspace(0, len(data.examples) - 1, min(count, len(data.examples)))
    rows = []
    for index in chosen.round().astype(int):
        image, truth = (
            read_image(data.examples[index].image),
            data.read_labels(data.examples[index]),
        )
        found = predict(image, job.ren, config, first, job.encode)
        shown = {
            method.name: prediction.classes(image.shape[:2])
            for method, (prediction, _) in zip(config.methods, found, strict=True)
        }
        rows.append(comparison_row(image, truth, shown, len(data.classes)))
    target.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(target), comparison_sheet(rows, data.classes)[..., ::-1])


def write_results(
    args: argparse.Namespace, job: Job, scores: Sequence[Score], seconds: float
) -> None:
    """``results.json``: means over seeds, every seed's figures per class, and what was done."""
    result = {
        "summary": summaries(scores),
        "rows": [score.row(job.evaluated.classes) for score in scores],
        "config": job.config,
        "model": job.ren.config,
        "images": {
            job.training.split: len(job.training.examples),
            job.evaluated.split: len(job.evaluated.examples),
        },
        "scored_training_images": job.trained_on,
        "caveat": job.caveat,
        "standard_images": dict(LAYOUTS[args.dataset].splits),
        "settings": {name: str(value) for name, value in vars(args).items()},
        "torch": torch.__version__,
        "seconds": seconds,
    }
    write_figures(args.out / "results.json", result)


if __name__ == "__main__":
    sys.exit(main())
