"""Score a VQ2D submission: the six official figures, and which queries were lost where."""

from __future__ import annotations

import argparse
import json
import logging
import math
import sys
import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from ren_core.errors import DataError
from ren_core.stages import atomic_path, write_figures
from vq2d.annotations import Annotations
from vq2d.breakdown import FOUND, Group, Trace, breakdown, count_losses, lost_at, read_traces
from vq2d.documents import Document, has_truth, load_document, official_form, valid_query_sets
from vq2d.metrics import (
    METRICS,
    PartialScores,
    QueryResult,
    compute,
    per_query,
    usable_rows,
)
from vq2d.submission import Problem, repair, validate
from vq2d.types import QueryKey

logger = logging.getLogger("evaluate_vq2d")

OFFICIAL_NAMES = ("tAP", "tAP @ IoU=0.25", "stAP", "stAP @ IoU=0.25", "success", "recovery %")
SHOWN_PROBLEMS = 20


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
        if has_truth(annotations):
            traces = {} if args.trace is None else read_traces(load_document(args.trace))
            report |= print_scores(per_query(submission, annotations), traces)
        else:
            print_no_truth(annotations)
    if args.json is not None:
        write_figures(args.json, report | {"seconds": time.monotonic() - started})
    return 0 if is_valid else 1


def evaluate_run(
    predictions: Path,
    annotations: Annotations,
    asked: Collection[QueryKey],
    *,
    trace: Path | None,
    figures: Path,
) -> tuple[bool, PartialScores]:
    """Validate the submission of a run and score the queries asked, as far as their truth goes.

    Args:
        predictions: The submission; all queries of the annotation file are in it.
        annotations: The annotation file.
        asked: The queries of the run.
        trace: What each stage knew.
        figures: Where figures, groups and rows are written; the same for the same submission.

    Returns:
        Whether the submission is valid, and the scores; none where no truth is known.
    """
    submission, document = load_document(predictions), annotations.document
    problems = validate(submission, document)
    report: dict[str, Any] = {
        "predictions": predictions,
        "annotations": annotations.path,
        "problems": problems,
    }
    is_valid = print_problems(problems)
    scores = PartialScores([], {})
    if is_valid and has_truth(document):
        scores = usable_rows(submission, document, asked)
        rows, total = scores.rows, sum(1 for _ in valid_query_sets(document))
        if len(rows) < total:
            print(f"The figures are over {len(rows)} of {total} queries; {len(asked)} were asked.")
        for key, reason in scores.left_out.items():
            print(f"  left out of the figures: {key}: {reason}")
        scored = {str(row.key) for row in rows}
        traces = {} if trace is None else read_traces(load_document(trace))
        report |= {"queries_scored": len(rows), "queries_in_file": total}
        report["left_out"] = {str(key): reason for key, reason in scores.left_out.items()}
        report |= print_scores(rows, {key: t for key, t in traces.items() if key in scored})
    elif is_valid:
        print_no_truth(document)
    write_figures(figures, report)
    return is_valid, scores


def print_no_truth(annotations: Document) -> None:
    """Say why there are no figures."""
    if any(valid_query_sets(annotations)):
        print("The annotation file has no response tracks, so the form was checked and no more.")
    else:
        print("The annotation file has no valid query, so there is nothing to score.")


def write_repaired(submission: Document, annotations: Document, out: Path) -> Document:
    """Mend the submission, say what was changed, write it."""
    mended, changes = repair(submission, annotations)
    with atomic_path(out) as tmp:
        tmp.write_text(json.dumps(mended) + "\n", encoding="utf-8")
    print(f"repair: {len(changes)} changes, written to {out}")
    for change in changes:
        print(f"  {change}")
    return mended


def print_problems(problems: Sequence[Problem]) -> bool:
    """Show the first problems, errors first; whether the submission is valid."""
    errors = sum(problem.severity == "error" for problem in problems)
    ordered = sorted(problems, key=lambda problem: problem.severity != "error")
    for problem in ordered[:SHOWN_PROBLEMS]:
        print(problem)
    if len(ordered) > SHOWN_PROBLEMS:
        print(f"... and {len(ordered) - SHOWN_PROBLEMS} more")
    verdict = "not valid" if errors else "valid"
    print(f"The submission is {verdict}: {errors} errors, {len(problems) - errors} warnings.")
    return not errors


def print_scores(rows: Sequence[QueryResult], traces: Mapping[str, Trace]) -> dict[str, Any]:
    """Print the figures, the groups and the losses; return them for the report."""
    figures, groups = compute(rows), breakdown(rows)
    for name, key in zip(OFFICIAL_NAMES, METRICS, strict=True):
        print(f"{name:<20s} | {figures[key]:>10.3f}")
    print_groups([Group("all", "", len(rows), figures), *groups])
    found = {"metrics": figures, "groups": groups, "queries": rows}
    return found | (print_losses(rows, traces) if traces else {})


def print_groups(groups: Sequence[Group]) -> None:
    """One line per group, one column per figure; a dash where a group is empty."""
    print(f"\n{'':<40s}{'queries':>8s}" + "".join(f"{name:>10s}" for name in METRICS))
    for group in groups:
        values = [group.figures[name] for name in METRICS]
        cells = ["-" if math.isnan(value) else f"{value:.3f}" for value in values]
        name = f"{group.split:<18s}{group.label}"
        print(f"{name:<40s}{group.count:>8d}" + "".join(f"{cell:>10s}" for cell in cells))


def print_losses(rows: Sequence[QueryResult], traces: Mapping[str, Trace]) -> dict[str, Any]:
    """Say which stage lost how many queries, and the reasons given; return both."""
    losses = count_losses(rows, traces)
    traced = [(row, traces[str(row.key)]) for row in rows if str(row.key) in traces]
    peaks = sum(trace.best_frame_in_truth for _, trace in traced)
    reasons = Counter(
        trace.reason for row, trace in traced if trace.reason and lost_at(row, trace) != FOUND
    )
    print("\nwhich stage lost it")
    for name, count in losses.items():
        print(f"  {name:<24s}{count:>8d}{count / len(rows):>8.1%}")
    print(f"  The most similar frame lies in the truth for {peaks} of {len(traced)} queries.")
    for reason, count in reasons.most_common():
        print(f"  lost, with the reason {reason!r}: {count}")
    return {"losses": losses, "reasons": dict(reasons)}


if __name__ == "__main__":
    sys.exit(main())
