"""Score a VQ2D submission: the six official figures, and which queries were lost where."""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ren_core.errors import DataError
from ren_core.stages import write_figures, write_text
from vq2d.ego4d.documents import (
    Document,
    has_truth,
    load_document,
    official_form,
    valid_query_sets,
)
from vq2d.ego4d.submission import repair, validate
from vq2d.scoring.breakdown import read_traces
from vq2d.scoring.metrics import per_query
from vq2d.scoring.report import print_no_truth, print_problems, print_scores

logger = logging.getLogger("evaluate_vq2d")


def main(argv: Sequence[str] | None = None) -> int:
    """Validate, score, break down; 0 done, 1 invalid or failed, 2 usage."""
    parser = build_parser()
    args = parser.parse_args(argv)
    if args.validate_only and args.trace is not None:
        parser.error("--trace needs figures: leave out --validate-only")
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        return run(args)
    except (DataError, OSError) as err:
        print(err, file=sys.stderr)
        return 1


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--predictions", type=Path, required=True, help="submission JSON")
    parser.add_argument("--annotations", type=Path, required=True, help="Ego4D annotation JSON")
    parser.add_argument("--json", type=Path, help="write figures, groups and rows per query here")
    parser.add_argument("--validate-only", action="store_true", help="check the form, no figures")
    parser.add_argument(
        "--repair", type=Path, help="write a mended submission here and go on with it"
    )
    parser.add_argument("--trace", type=Path, help="JSON of what each stage knew, by query key")
    parser.add_argument(
        "--version", help="version that the submission must carry (the annotation file's)"
    )
    return parser


def run(args: argparse.Namespace) -> int:
    """Do what the command line asks; the exit code."""
    started = time.monotonic()
    annotations, faults = official_form(load_document(args.annotations))
    for fault in faults:
        logger.warning("%s: %s", args.annotations, fault)
    if args.version is not None:
        annotations["version"] = args.version
    submission = load_document(args.predictions)
    if args.repair is not None:
        submission = write_repaired(submission, annotations, args.repair)
    problems = validate(submission, annotations)
    report: dict[str, Any] = {
        "predictions": args.predictions,
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
    if args.json is not None:
        write_figures(args.json, report | {"seconds": time.monotonic() - started})
    return 0 if is_valid else 1


def write_repaired(submission: Document, annotations: Document, out: Path) -> Document:
    """Mend the submission, say what was changed, write it."""
    mended, changes = repair(submission, annotations)
    write_text(out, json.dumps(mended) + "\n")
    print(f"repair: {len(changes)} changes, written to {out}")
    for change in changes:
        print(f"  {change}")
    return mended
