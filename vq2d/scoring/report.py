"""Validate, score and break down, in print and as values for a file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from ren_core.stages import write_figures
from vq2d.ego4d.annotations import Annotations
from vq2d.ego4d.documents import AnnotatedQuery, Document, has_truth
from vq2d.ego4d.submission import validate
from vq2d.ego4d.validation import Problem
from vq2d.scoring.bootstrap import BootstrapConfig
from vq2d.scoring.breakdown import (
    FOUND,
    Group,
    Trace,
    breakdown,
    count_losses,
    lost_at,
)
from vq2d.scoring.compare import Comparison
from vq2d.scoring.metrics import METRICS, PartialScores, QueryResult, compute, usable_rows
from vq2d.types import QueryKey

OFFICIAL_NAMES = ("tAP", "tAP @ IoU=0.25", "stAP", "stAP @ IoU=0.25", "success", "recovery %")

SHOWN_PROBLEMS = 20


def evaluate_run(
    submission: Document,
    annotations: Annotations,
    asked: Collection[QueryKey],
    *,
    traces: Mapping[str, Trace],
    figures: Path,
) -> tuple[bool, PartialScores]:
    """Validate the submission of a run and score the queries asked, as far as their truth goes.

    Args:
        submission: The submission; all queries of the annotation file are in it.
        annotations: The annotation file.
        asked: The queries of the run.
        traces: What each stage knew, by query.
        figures: Where figures, groups and rows are written; the same for the same submission.

    Returns:
        Whether the submission is valid, and the scores; none where no truth is known.
    """
    problems = validate(submission, annotations.document)
    report: dict[str, Any] = {
        "annotations": annotations.path,
        "problems": problems,
    }
    is_valid = print_problems(problems)
    scores = PartialScores([], {})
    if is_valid and has_truth(annotations.query_sets):
        queries = [query for query in annotations.query_sets if query.key in asked]
        scores = usable_rows(submission, queries)
        rows, total = scores.rows, len(annotations.query_sets)
        if len(rows) < total:
            print(f"The figures are over {len(rows)} of {total} queries; {len(asked)} were asked.")
        for key, reason in scores.left_out.items():
            print(f"  left out of the figures: {key}: {reason}")
        scored = {str(row.key) for row in rows}
        report |= {"queries_scored": len(rows), "queries_in_file": total}
        report["left_out"] = {str(key): reason for key, reason in scores.left_out.items()}
        report |= print_scores(rows, {key: t for key, t in traces.items() if key in scored})
    elif is_valid:
        print_no_truth(annotations.query_sets)
    write_figures(figures, report)
    return is_valid, scores


def print_no_truth(queries: Sequence[AnnotatedQuery]) -> None:
    """Say why there are no figures."""
    if queries:
        print("The annotation file has no response tracks, so the form was checked and no more.")
    else:
        print("The annotation file has no valid query, so there is nothing to score.")


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
    import pandas as pd  # takes as long to import as all of a small evaluation

    table = pd.DataFrame(
        [{"queries": group.count, **group.figures} for group in groups],
        index=[f"{group.split:<18s}{group.label:<22s}" for group in groups],
        columns=["queries", *METRICS],
    )
    print("\n" + table.to_string(na_rep="-", float_format="{:.3f}".format, col_space=9))


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


def print_comparison(comparison: Comparison, config: BootstrapConfig) -> None:
    """One line per figure: both runs, the difference, its interval and whether it excludes 0."""
    drawn = f"{comparison.units} {'clips' if config.unit == 'clip' else 'queries'}"
    print(f"\n{comparison.name}: {comparison.queries} queries", end="; ")
    print(f"{config.resamples} paired resamples of {drawn}, seed {config.seed}")
    print(f"{'':<20s} | {'a':>10s}{'b':>10s}{'b - a':>10s}  {'95 % interval':<22s}seen")
    for name, key in zip(OFFICIAL_NAMES, METRICS, strict=True):
        its = comparison.figures[key]
        interval = f"[{its.low:+.3f}, {its.high:+.3f}]"
        seen = "yes" if its.seen else "no"
        print(
            f"{name:<20s} | {its.a:>10.3f}{its.b:>10.3f}{its.difference:>+10.3f}"
            f"  {interval:<22s}{seen}"
        )
    print("A difference is seen if its interval excludes 0.")
