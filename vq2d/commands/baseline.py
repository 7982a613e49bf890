"""Answer an annotation file without learned features: what the main job has to beat."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from functools import partial

from ren_core.command import exit_code
from vq2d.commands.parsers import COMMANDS
from vq2d.commands.shared import annotations_of
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


def main(argv: Sequence[str] | None = None) -> int:
    """Answer, write, score; 0 done, 1 something failed, 2 usage."""
    args = COMMANDS["baseline"].parser("vq2d baseline").parse_args(argv)
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
