"""Score a VQ2D submission: the six official figures, and which queries were lost where.

Of two submissions: by how much their figures differ, and whether by more than chance.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ren_core.command import typed_fields
from ren_core.errors import ConfigError, DataError
from ren_core.stages import write_figures, write_text
from vq2d.commands.parsers import COMMANDS
from vq2d.ego4d.documents import (
    Document,
    has_truth,
    load_document,
    official_form,
    valid_query_sets,
)
from vq2d.ego4d.submission import repair, validate
from vq2d.scoring.bootstrap import BootstrapConfig
from vq2d.scoring.breakdown import read_traces
from vq2d.scoring.compare import compare
from vq2d.scoring.metrics import per_query
from vq2d.scoring.report import (
    print_comparison,
    print_no_truth,
    print_problems,
    print_scores,
)

logger = logging.getLogger("evaluate_vq2d")


def main(argv: Sequence[str] | None = None) -> int:
    """Validate, score, break down or compare; 0 done, 1 invalid or failed, 2 usage."""
    parser = COMMANDS["evaluate"].parser("vq2d evaluate")
    args = parser.parse_args(argv)
    check_usage(parser, args)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        return run(args)
    except ConfigError as err:
        print(err, file=sys.stderr)
        return 2
    except (DataError, OSError) as err:
        print(err, file=sys.stderr)
        return 1


def check_usage(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """End the program with a sentence if options do not go together."""
    number = len(args.predictions)
    if number > 2:
        parser.error(
            f"--predictions got {number} files, expected one to score or two to compare; "
            "compare more runs two at a time"
        )
    if args.validate_only and args.trace is not None:
        parser.error("--trace needs figures: leave out --validate-only")
    if number == 2 and not (args.trace is None and args.repair is None):
        parser.error("--trace and --repair go with one submission: give --predictions one file")
    if typed_fields(args, BootstrapConfig) and (number == 1 or args.validate_only):
        parser.error(
            "--resamples, --seed and --unit need a comparison: give --predictions two files and "
            "leave out --validate-only"
        )


def run(args: argparse.Namespace) -> int:
    """Do what the command line asks; the exit code."""
    started = time.monotonic()
    annotations, faults = official_form(load_document(args.annotations))
    for fault in faults:
        logger.warning("%s: %s", args.annotations, fault)
    if args.version is not None:
        annotations["version"] = args.version
    work = score_one if len(args.predictions) == 1 else compare_two
    is_valid, report = work(args, annotations)
    if args.json is not None:
        write_figures(args.json, report | {"seconds": time.monotonic() - started})
    return 0 if is_valid else 1


def score_one(args: argparse.Namespace, annotations: Document) -> tuple[bool, dict[str, Any]]:
    """Validate, score and break down a submission; whether it is valid, and the report."""
    (path,) = args.predictions
    submission = load_document(path)
    if args.repair is not None:
        submission = write_repaired(submission, annotations, args.repair)
    problems = validate(submission, annotations)
    report: dict[str, Any] = {
        "predictions": path,
        "annotations": args.annotations,
        "problems": problems,
    }
    is_valid = print_problems(problems)
    if is_valid and not args.validate_only:
        queries = tuple(valid_query_sets(annotations))
        if has_truth(queries):
            traces = {} if args.trace is None else read_traces(load_document(args.trace))
            report |= print_scores(per_query(submission, annotations), traces)
        else:
            print_no_truth(queries)
    return is_valid, report


def compare_two(args: argparse.Namespace, annotations: Document) -> tuple[bool, dict[str, Any]]:
    """Validate and compare two submissions; whether both are valid, and the report."""
    config = BootstrapConfig(**typed_fields(args, BootstrapConfig))
    submissions = [load_document(path) for path in args.predictions]
    problems = [validate(submission, annotations) for submission in submissions]
    report: dict[str, Any] = {
        "predictions": args.predictions,
        "annotations": args.annotations,
        "problems": problems,
    }
    is_valid = True
    for name, path, its in zip("ab", args.predictions, problems, strict=True):
        print(f"{name}: {path}")
        is_valid = print_problems(its) and is_valid
    if is_valid and not args.validate_only:
        queries = tuple(valid_query_sets(annotations))
        if has_truth(queries):
            a, b = (per_query(submission, annotations) for submission in submissions)
            (comparison,) = compare({args.annotations.name: (a, b)}, config)
            print_comparison(comparison, config)
            report |= {"bootstrap": config, "comparison": comparison, "queries": [a, b]}
        else:
            print_no_truth(queries)
    return is_valid, report


def write_repaired(submission: Document, annotations: Document, out: Path) -> Document:
    """Mend the submission, say what was changed, write it."""
    mended, changes = repair(submission, annotations)
    write_text(out, json.dumps(mended) + "\n")
    print(f"repair: {len(changes)} changes, written to {out}")
    for change in changes:
        print(f"  {change}")
    return mended
