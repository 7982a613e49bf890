"""Find where and when each queried object was last seen: the main job over an annotation file."""

from __future__ import annotations

import argparse
import logging
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from ren_core.errors import ConfigError
from ren_core.executor.options import HERE, chosen_executor
from ren_core.progress import events_to
from ren_core.stages import file_fingerprint
from vq2d.commands.options import DATA_PLACES
from vq2d.commands.parsers import COMMANDS
from vq2d.commands.shared import (
    SAMPLE,
    annotations_of,
    chosen_localizer,
    chosen_preset,
    peak_memory,
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

logger = logging.getLogger("run_vq2d")

LARGE_BYTES = 200e9
"""Of the tokens of finished clips, for other presets than the small one."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the stages; 0 done, 1 something failed, 2 usage."""
    args = COMMANDS["run"].parser("vq2d run").parse_args(argv)
    return run_command("run", argv, args, run)


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
        events_to(out / "events.jsonl")
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
    print_written(out, page, report, is_part=part is not None)
    return 0 if is_valid and not report.troubles else 1


def print_written(out: Path, page: Path, report: RunReport, *, is_part: bool) -> None:
    """Where the results lie."""
    written = "part" if is_part else "submission"
    print(f"{written:<12}{out / written}.json\npictures    {page}")
    if report.troubles:
        print(f"failures    {out / 'failures.json'}")


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
            most_token_bytes=most_token_bytes(args, config),
        )
        return name, config, recipe
    name, localizer = chosen_localizer(args)
    answerer = Answerer(
        files,
        localizer,
        cache=args.cache,
        weights=masking_weights(localizer),
        keep_tokens_of=args.keep_cache_of,
        most_token_bytes=most_token_bytes(args, localizer.config),
    )
    return name, localizer.config, lambda: answerer


def most_token_bytes(args: argparse.Namespace, config: VQ2DConfig) -> float:
    """What the tokens of finished clips may take on disk; the small model's are all kept."""
    if args.max_cache is not None:
        return float(args.max_cache)
    return math.inf if config.ren == "embedded" else LARGE_BYTES


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
    if not SAMPLE.is_dir():
        raise ConfigError(
            f"no Ego4D folder was given, and none is in {', '.join(DATA_PLACES)}; name one with "
            "--data (the embedded sample is in a clone of the repository only)"
        )
    print("No Ego4D folder was given or found: this run uses the embedded sample (data/sample).")
    return SAMPLE
