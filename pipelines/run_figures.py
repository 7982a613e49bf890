"""Measure a preset on all sets: official figures, losses by stage, absent questions, cost.

Values are chosen on the choosing sets. The reporting sets are measured with --report only, once,
at the end of a piece of work, and nothing is chosen on them. With --against, the differences to an
earlier run and their intervals are printed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from pipelines.shared.figures import (
    CHOOSING,
    PRESENCE_ONLY,
    REPORTING,
    DataSet,
    SetFigures,
    add_roots,
    find_set,
    load_rows,
    measure,
)
from ren_core.stages import write_figures
from vq2d.commands.options import add_model_options
from vq2d.commands.shared import chosen_localizer, run_command, write_config
from vq2d.scoring.bootstrap import BootstrapConfig
from vq2d.scoring.breakdown import Group, breakdown, count_losses
from vq2d.scoring.compare import compare
from vq2d.scoring.metrics import compute
from vq2d.scoring.presence import (
    Score,
    presence_figures,
    presence_table,
    reliability,
    reliability_line,
)
from vq2d.scoring.report import print_comparison, print_groups

SCORES: Sequence[Score] = ("similarity", "refined", "present")


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--sets",
        nargs="+",
        default=[],
        choices=(*CHOOSING, *REPORTING, *PRESENCE_ONLY),
        help=f"which sets (default: the choosing sets {', '.join(CHOOSING)}, and for presence "
        f"{', '.join(PRESENCE_ONLY)})",
    )
    parser.add_argument(
        "--report",
        action="store_true",
        help=f"measure the reporting sets too: {', '.join(REPORTING)}; nothing may be chosen on "
        "them",
    )
    add_roots(parser)
    parser.add_argument(
        "--absent",
        type=int,
        choices=range(100),
        default=2,
        metavar="N",
        help="most clips without its thing that a query is asked of, 0 for no such questions (2)",
    )
    parser.add_argument("--against", type=Path, help="results of an earlier run, to compare with")
    parser.add_argument(
        "--out", type=Path, default=Path("runs/figures"), help="folder of results (runs/figures)"
    )
    add_model_options(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Measure; 0 done, 1 something failed or is missing, 2 usage."""
    args = build_parser().parse_args(argv)
    return run_command("run_figures", argv, args, run)


def run(args: argparse.Namespace, command: str) -> int:
    """Do what the command line asks; the exit code."""
    names = args.sets or [*CHOOSING, *PRESENCE_ONLY]
    if args.report:
        names = [*names, *(name for name in REPORTING if name not in names)]
    refused = [name for name in names if name in REPORTING and not args.report]
    if refused:
        print(
            f"{', '.join(refused)} may be measured with --report only: nothing is chosen on it",
            file=sys.stderr,
        )
        return 2
    sets = {name: find_set(name, args.roots) for name in names}
    missing = [name for name, data in sets.items() if data is None]
    for name in missing:
        print(f"no set {name} under {', '.join(map(str, args.roots))}; `make sets` renders it")
    preset, localizer = chosen_localizer(args)
    config, networks = localizer.config, localizer.networks
    write_config(args, args.out, preset=preset, command=command, config=config, networks=networks)
    found = []
    for data in filter(None, sets.values()):
        print(f"\n== {data.name}")
        found.append(
            measure(
                data,
                localizer,
                cache=args.cache,
                out=args.out / data.name,
                absent_per_query=args.absent,
                keep_tokens_of=args.keep_cache_of,
            )
        )
    print_figures(found)
    write_figures(args.out / "figures.json", [asdict(figures) for figures in found])
    if args.against is not None:
        print_differences(found, {n: d for n, d in sets.items() if d is not None}, args.against)
    failed = sum(figures.failed for figures in found)
    if failed:
        print(f"\n{failed} queries or questions failed; see failures.json of each set")
    return 1 if failed or missing else 0


def print_figures(found: Sequence[SetFigures]) -> None:
    """Official figures by set and by length, losses, presence, cost."""
    scored = [figures for figures in found if figures.rows]
    rows = [row for figures in scored for row in figures.rows]
    groups = [Group("set", f.name, len(f.rows), compute(f.rows)) for f in scored]
    print_groups([*groups, Group("all sets", "", len(rows), compute(rows)), *breakdown(rows)])
    print_losses_by_set(scored)
    asked = [replace(row, query=f"{f.name} {row.query}") for f in found for row in f.asked]
    for score in SCORES:
        print(f"\npresent or absent, all sets\n{presence_table(presence_figures(asked, score))}")
        if score == "present" and (calibration := reliability(asked)) is not None:
            print(reliability_line(calibration))
        for figures in found:
            if figures.asked:
                table = presence_table(presence_figures(figures.asked, score, lengths=["all"]))
                print(f"\npresent or absent, {figures.name}\n{table}")
    print_cost(scored)


def print_losses_by_set(scored: Sequence[SetFigures]) -> None:
    """How many queries each stage lost, one line per set."""
    losses = {f.name: count_losses(f.rows, f.traces) for f in scored}
    columns = list(dict.fromkeys(stage for counts in losses.values() for stage in counts))
    print(f"\n{'lost by':<14s}" + "".join(f"{column:>24s}" for column in columns))
    for name, counts in losses.items():
        print(f"{name:<14s}" + "".join(f"{counts.get(column, 0):>24d}" for column in columns))


def print_cost(scored: Sequence[SetFigures]) -> None:
    """Processor seconds per searched frame and per query, one line per set."""
    print(f"\n{'processor seconds':<20s}{'per frame':>12s}{'per query':>12s}{'queries':>10s}")
    for figures in scored:
        cost = figures.cost
        if cost is None:
            print(f"{figures.name:<20s} all from the cache")
            continue
        per_frame = cost.processor_s["tokens"] / max(cost.frames, 1)
        per_query = cost.processor_s["queries"] / max(cost.queries, 1)
        print(f"{figures.name:<20s}{per_frame:>12.3f}{per_query:>12.2f}{cost.queries:>10d}")


def print_differences(
    found: Sequence[SetFigures], sets: Mapping[str, DataSet], earlier: Path
) -> None:
    """The differences to an earlier run, of each set and of all."""
    config = BootstrapConfig()
    pairs = {
        figures.name: (load_rows(sets[figures.name], earlier / figures.name), figures.rows)
        for figures in found
        if figures.rows
    }
    for comparison in compare(pairs, config):
        print_comparison(comparison, config)


if __name__ == "__main__":
    raise SystemExit(main())
