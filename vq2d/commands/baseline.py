"""Answer an annotation file without learned features: what the main job has to beat."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from ren_core.command import exit_code
from vq2d.commands.shared import annotations_of, positive_count
from vq2d.job.baselines import (
    Baseline,
    TemplateConfig,
    answer_queries,
    hold_centre,
    match_template,
)
from vq2d.job.outputs import write_failures, write_tracks
from vq2d.job.task import RunReport, Trouble
from vq2d.scoring.report import evaluate_run

logger = logging.getLogger("run_baseline")


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder in the ego4d CLI's layout")
    parser.add_argument("--split", default="val", choices=("train", "val", "test"))
    parser.add_argument(
        "--method",
        choices=("held", "template"),
        required=True,
        help="held: a box of half the frame's sides in its middle, over all frames before the "
        "query; template: the last peak of normalised cross-correlation with the visual crop",
    )
    parser.add_argument(
        "--skip-around-crop",
        type=int,
        default=0,
        metavar="N",
        help="of template: no answer within N frames of the visual crop, such as 15 (0)",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument(
        "--limit", type=positive_count, metavar="N", help="answer and score the first N queries"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Answer, write, score; 0 done, 1 something failed, 2 usage."""
    args = build_parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    return exit_code(lambda: run(args))


def run(args: argparse.Namespace) -> int:
    """Do what the command line asks; 0 if the submission is valid and no query failed."""
    baseline = chosen_baseline(args.method, args.skip_around_crop)
    annotations = annotations_of(args.data, args.split)
    for problem in annotations.problems:
        logger.warning("%s", problem)
    asked = tuple(query.key for query in annotations.query_sets[: args.limit])
    report = RunReport(asked=asked)
    tracks = answer_queries(annotations, report, baseline, root=args.data)
    submission = write_tracks(annotations, tracks, args.out / "submission.json")
    is_valid, scores = evaluate_run(
        submission, annotations, asked, traces={}, figures=args.out / "figures.json"
    )
    report.note(Trouble.NOT_SCORED, scores.left_out)
    write_failures(report, args.out)
    print(f"\nsubmission  {args.out / 'submission.json'}")
    for kind, reasons in report.troubles.items():
        print(f"{len(reasons)} {kind}, see {args.out / 'failures.json'}")
    return 0 if is_valid and not report.troubles else 1


def chosen_baseline(method: str, skip_around_crop: int) -> Baseline:
    """The baseline of a name.

    Raises:
        ConfigError: If the number of frames is not allowed.
    """
    config = TemplateConfig(skip_around_crop=skip_around_crop)
    return hold_centre if method == "held" else partial(match_template, config=config)
