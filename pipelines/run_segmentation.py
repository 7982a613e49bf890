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
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from eval.segmentation.compare import Score, evaluate, train
from eval.segmentation.config import Method, merging_of
from eval.segmentation.data import LAYOUTS
from eval.segmentation.predict import Heads, predict
from eval.segmentation.report import (
    class_table,
    comparison_row,
    comparison_sheet,
    method_table,
    summaries,
)
from pipelines.shared.segmentation import Job, add_job_arguments, load_model, open_job
from ren_core.command import exit_code
from ren_core.errors import ConfigError, ShapeError
from ren_core.images import read_image
from ren_core.model import REN
from ren_core.stages import write_figures

KINDS = ("patches-grid", "patches-slic", "ren-grid", "ren-slic")


def main(argv: Sequence[str] | None = None) -> int:
    """Train, score, draw, write; 0 done, 1 failed, 2 usage."""
    args = build_parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    return exit_code(lambda: run(args), usage=(ConfigError, ShapeError))


def run(args: argparse.Namespace) -> None:
    """All steps in order; results in ``args.out``."""
    started = time.monotonic()
    ren = load_model(args)
    methods = chosen_methods(args.methods, chosen_mergings(args, ren))
    job = open_job(args, ren, methods)
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
        help="also score REN tokens merged from this cosine (as the model; nothing: no merging)",
    )  # fmt: skip
    parser.add_argument(
        "--regions", type=int, nargs="+", default=(), metavar="K",
        help="also score tokens, patches too, merged into at most so many regions by k-means",
    )  # fmt: skip
    parser.add_argument("--pictures", type=int, default=6, help="images to draw (6)")
    return parser


def chosen_mergings(args: argparse.Namespace, ren: REN) -> list[dict[str, Any]]:
    """Fields of a method for every way of merging; the model's own if none was given."""
    if args.merge is None and not args.regions:
        return [merging_of(ren.config)]
    linked = [{"merge_similarity": mu} for mu in args.merge or ()]
    return [*linked, *({"regions": count} for count in args.regions)]


def chosen_methods(kinds: Sequence[str], mergings: Sequence[dict[str, Any]]) -> tuple[Method, ...]:
    """Every kind by itself and merged; patches are not linked by a cosine, which is of REN's."""
    methods = []
    for kind in kinds:
        source, prompting = kind.split("-")
        method = Method(source=source, prompting=prompting)  # type: ignore[arg-type]  # it checks
        merged = [m for m in mergings if source == "ren" or "regions" in m]
        methods += [method, *(replace(method, **m) for m in merged)]
    return tuple(methods)


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
