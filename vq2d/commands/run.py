"""Find where and when each queried object was last seen: the main job over an annotation file."""

from __future__ import annotations

import argparse
import logging
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from ren_core.errors import ConfigError
from ren_core.executor.options import HERE, add_executor_options, chosen_executor
from ren_core.stages import file_fingerprint
from vq2d.commands.shared import (
    SAMPLE,
    add_model_options,
    annotations_of,
    chosen_localizer,
    chosen_preset,
    peak_memory,
    positive_count,
    run_command,
    wished_compute,
    write_config,
)
from vq2d.ego4d.annotations import Annotations, has_annotations
from vq2d.ego4d.parts import shard_keys
from vq2d.ego4d.submission import build_submission
from vq2d.job.answerer import Answerer, AnswererRecipe, ClipFiles, code_identity
from vq2d.job.oracle import ORACLES, write_oracle_submission
from vq2d.job.outputs import write_failures, write_submission, write_traces
from vq2d.job.runner import Runner
from vq2d.job.task import RunReport, Trouble
from vq2d.localize.build import masking_weights
from vq2d.localize.localizer import Localizer
from vq2d.localize.presets import VQ2DConfig
from vq2d.scoring.breakdown import Group
from vq2d.scoring.metrics import compute
from vq2d.scoring.report import evaluate_run, print_groups
from vq2d.show.gallery import draw_all, write_page

DATA_PLACES = ("data/ego4d", "data/ego4d_data")

logger = logging.getLogger("run_vq2d")


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--split", default="val", choices=("train", "val", "test"))
    parser.add_argument(
        "--data",
        type=Path,
        help="folder in the ego4d CLI's layout (searched in "
        f"{', '.join(DATA_PLACES)}; else the embedded sample)",
    )
    parser.add_argument("--out", type=Path, help="folder of the results (runs/vq2d-...)")
    parser.add_argument(
        "--limit",
        type=positive_count,
        metavar="N",
        help="answer and score the first N queries only",
    )
    parser.add_argument(
        "--version", help="version to write in the submission (the annotation file's)"
    )
    parser.add_argument(
        "--shard",
        type=shard,
        metavar="I/N",
        help="answer the clips of the I-th of N shards only, and write part.json in the place of "
        "submission.json; vq2d merge puts the parts together",
    )
    parser.add_argument("--overwrite", action="store_true", help="answer again what has an answer")
    parser.add_argument("--no-videos", action="store_true", help="draw summaries only")
    parser.add_argument(
        "--oracle",
        nargs="+",
        action="extend",
        default=[],
        choices=tuple(ORACLES),
        dest="oracles",
        help="also score with the truth in the place of a stage, which shows what that stage "
        "loses: seeds (the true box at the found frame: segmentation), outlines (those of the true "
        "boxes in the found track: the tracker's outline), occurrence (the candidate in the true "
        "track: the choice)",
    )
    parser.add_argument(
        "--true-seeds",
        action="append_const",
        const="seeds",
        dest="oracles",
        help="the same as --oracle seeds",
    )
    add_model_options(parser)
    add_executor_options(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the stages; 0 done, 1 something failed, 2 usage."""
    args = build_parser().parse_args(argv)
    return run_command("run_vq2d", argv, args, run)


def run(args: argparse.Namespace, command: str) -> int:
    """Do what the command line asks; the exit code.

    It is 0 exactly if the submission is valid and ``failures.json`` is empty.
    """
    started = time.perf_counter()
    root = find_data(args.data)
    annotations = annotations_of(root, args.split)
    if args.version is not None:
        annotations = annotations.with_version(args.version)
    if args.oracles and args.executor != HERE:
        raise ConfigError(
            "--oracle needs the models in this process: give it with --executor here once the "
            "cluster has answered; the answers are kept"
        )
    executor, files = chosen_executor(args), ClipFiles(root.absolute(), args.reader)
    for problem in annotations.problems:
        logger.warning("%s", problem)
    build_submission(annotations.document, {})  # before any computing: can it be answered at all?
    name, config, build = chosen_work(args, annotations, files)
    of_shard = "" if args.shard is None else "-shard{}of{}".format(*args.shard)
    out = args.out or Path("runs") / f"vq2d-{root.name}-{args.split}-{name}{of_shard}"
    part = None if args.shard is None else shard_keys(annotations, *args.shard)
    with executor.open(build, shared=args.cache, expected=code_identity()) as pool:
        networks = pool.identity["networks"]
        if args.executor != HERE:
            print(f"networks: {networks}, of every worker (--engine, --dtype and --device choose)")
        write_config(args, out, preset=name, command=command, config=config, networks=networks)
        runner = Runner(annotations, files, pool, cache=args.cache)
        report = runner.run(limit=args.limit, only=part, overwrite=args.overwrite)
    asked = None if part is None else report.asked
    submission = write_submission(annotations, report.answers, out, asked)
    traces = write_traces(report.answers, out)
    write_failures(report, out)
    is_valid, scores = evaluate_run(
        submission, annotations, report.asked, traces=traces, figures=out / "figures.json"
    )
    report.note(Trouble.NOT_SCORED, scores.left_out)

    cards = draw_all(
        report,
        scores.rows,
        out,
        root=root,
        videos=not args.no_videos,
        overwrite=args.overwrite,
    )
    total = len(annotations.query_sets)
    page = write_page(cards, scores.rows, out, queries=total, preset=name, command=command)
    if args.oracles:
        groups = score_oracles(
            args.oracles, annotations, report, build().localizer, root=root, out=out
        )
        print_groups([Group("the run itself", "", len(scores.rows), compute(scores.rows)), *groups])
    write_failures(report, out)
    print_end(report, time.perf_counter() - started)
    written = "submission" if part is None else "part"
    print(f"{written:<12}{out / written}.json\npictures    {page}")
    if report.troubles:
        print(f"failures    {out / 'failures.json'}")
    return 0 if is_valid and not report.troubles else 1


def shard(text: str) -> tuple[int, int]:
    """Number and count of ``I/N``, as the type of an option."""
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    if found is None or not 1 <= int(found[1]) <= int(found[2]):
        raise argparse.ArgumentTypeError(
            f"must be I/N with I from 1 to N, such as 2/8, got {text!r}"
        )
    return int(found[1]), int(found[2])


def chosen_work(
    args: argparse.Namespace, annotations: Annotations, files: ClipFiles
) -> tuple[str, VQ2DConfig, Callable[[], Answerer]]:
    """The preset's name, its values as changed, and what gives a worker its models.

    In this process they are loaded now; on a cluster each worker loads its own.
    """
    if args.executor != HERE:
        name, config = chosen_preset(args)
        path = annotations.path.absolute()
        recipe = AnswererRecipe(
            files=files,
            annotations=(path, file_fingerprint(path)),
            cache=args.cache.absolute(),
            config=config,
            compute=wished_compute(args, config),
            keep_tokens_of=args.keep_cache_of,
        )
        return name, config, recipe
    name, localizer = chosen_localizer(args)
    answerer = Answerer(
        files,
        localizer,
        cache=args.cache,
        weights=masking_weights(localizer),
        keep_tokens_of=args.keep_cache_of,
    )
    return name, localizer.config, lambda: answerer


def score_oracles(
    names: Sequence[str],
    annotations: Annotations,
    report: RunReport,
    localizer: Localizer,
    *,
    root: Path,
    out: Path,
) -> list[Group]:
    """Write and score the submission that each oracle has corrected; its figures, one row each."""
    groups = []
    for name in dict.fromkeys(names):
        oracle = ORACLES[name]
        print(f"\n{oracle.title}:")
        submission = write_oracle_submission(
            annotations, report, localizer, oracle, root=root, out=out
        )
        figures = out / f"figures-{oracle.stem}.json"
        _, scores = evaluate_run(submission, annotations, report.asked, traces={}, figures=figures)
        groups.append(Group("oracle", name, len(scores.rows), compute(scores.rows)))
    return groups


def print_end(report: RunReport, seconds: float) -> None:
    """One line on what was done, and one on each kind of trouble."""
    failed, spent = report.reasons(Trouble.NOT_ANSWERED), report.cost.wall_s
    facts = [
        f"{len(report.answers)} queries answered, {len(failed)} failed",
        f"{report.images_encoded} images encoded",
        f"{seconds:.0f} s (tokens {spent['tokens']:.0f}, queries {spent['queries']:.0f})",
        peak_memory(),
    ]
    print("\n" + "; ".join(filter(None, facts)))
    for kind, reasons in report.troubles.items():
        print(f"{len(reasons)} {kind}")


def find_data(given: Path | None) -> Path:
    """The data folder: the given one, a usual place, or the embedded sample, which is announced."""
    if given is not None:
        return given
    for place in DATA_PLACES:
        if has_annotations(Path(place)):
            return Path(place)
    print("No Ego4D folder was given or found: this run uses the embedded sample (data/sample).")
    return SAMPLE
