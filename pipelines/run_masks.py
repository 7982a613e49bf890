"""Measure promptable masks: how well a box or a point becomes the outline of its thing."""

from __future__ import annotations

import argparse
import functools
import logging
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2

from eval.masks.prompts import MAKERS, make_prompts
from eval.masks.protocol import Method, Prompt
from eval.masks.sheet import draw_worst
from eval.masks.trials import MaskFigures, MaskRow, Trial, run_trial
from pipelines.shared.masks import (
    CLIP_SETS,
    METHODS,
    SETS,
    found_prompts,
    head_methods,
    read_things,
)
from pipelines.shared.reid import table
from ren_core.command import check_device, exit_code
from ren_core.errors import ConfigError
from ren_core.stages import write_figures
from vq2d.commands.options import add_preset_options, positive_count
from vq2d.commands.shared import chosen_config
from vq2d.localize.build import build_localizer


def main(argv: Sequence[str] | None = None) -> int:
    """Print one line per set, kind of prompts and method; 0 done, 1 failed, 2 usage."""
    args = build_parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    return exit_code(lambda: run(args))


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", nargs="+", choices=list(SETS), default=list(SETS), help="(all)")
    parser.add_argument(
        "--methods", nargs="+", choices=list(METHODS), default=list(METHODS), help="(all)"
    )
    parser.add_argument(
        "--heads",
        nargs="*",
        default=["embedded"],
        metavar="FILE",
        help="mask heads to measure too (embedded, which ships here)",
    )
    parser.add_argument(
        "--data",
        type=Path,
        default=Path("../shared/data"),
        help="folder of eval/davis_dev, train/coco128_seg, synvq_dev and realvq_dev "
        "(../shared/data)",
    )
    parser.add_argument(
        "--found",
        type=Path,
        metavar="ANSWERS",
        help="answers-... in the cache of a run of the main job: its found points are prompts too",
    )
    parser.add_argument("--seed", type=int, default=0, help="of loose boxes and edge points (0)")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    parser.add_argument(
        "--worst",
        type=positive_count,
        metavar="N",
        help="draw the N worst answers of each method, a PNG beside --out for each set and prompt",
    )
    parser.add_argument("--limit", type=positive_count, help="things of each set (all)")
    add_preset_options(parser)
    parser.set_defaults(preset="embedded")
    return parser


def run(args: argparse.Namespace) -> None:
    """Measure, print, write.

    Raises:
        ConfigError: If options do not go together.
    """
    check_device(args.device)
    if args.worst and args.out is None:
        raise ConfigError("--worst draws beside the results; say where with --out")
    if args.found and not set(CLIP_SETS) & set(args.sets):
        raise ConfigError(f"--found needs one of the sets {', '.join(CLIP_SETS)}")
    _, config, compute = chosen_config(args)
    models = functools.cache(lambda: build_localizer(config, compute).models)
    methods = [METHODS[name](models) for name in args.methods]
    methods += [method for head in args.heads for method in head_methods(models, head)]
    figures: list[MaskFigures] = []
    rows: list[MaskRow] = []
    for trials in all_trials(methods, args):
        figures += [trial.figures() for trial in trials]
        rows += [row for trial in trials for row in trial.rows()]
        if args.worst:
            write_sheet(trials, args.worst, args.out)
    print(table([line(one) for one in figures]))
    if args.out is not None:
        result = {
            "figures": figures,
            "networks": str(compute),
            "config": config,
            "settings": {name: str(value) for name, value in vars(args).items()},
            "rows": rows,
        }
        write_figures(args.out, result)


def all_trials(methods: Sequence[Method], args: argparse.Namespace) -> Iterator[list[Trial]]:
    """The trials of all methods on one set and kind of prompts after the other."""
    for name in args.sets:
        for prompts in set_prompts(name, args):
            fitting = [method for method in methods if method.takes(prompts[0])]
            if fitting:
                yield [run_trial(name, method, prompts) for method in fitting]


def set_prompts(name: str, args: argparse.Namespace) -> Iterator[list[Prompt]]:
    """The prompts of a set, kind by kind; those of a kind are never empty."""
    things = read_things(name, args.data, args.limit)
    for kind in MAKERS:
        if prompts := make_prompts(kind, things, args.seed):
            yield prompts
    if args.found is not None and name in CLIP_SETS:
        yield found_prompts(args.data / name, args.found, args.limit)


def write_sheet(trials: Sequence[Trial], count: int, out: Path) -> None:
    """Draw the worst answers of some trials of one set and kind of prompts beside ``out``."""
    path = out.with_name(f"{out.stem}_{trials[0].set_name}_{trials[0].kind}.png")
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), draw_worst(trials, count)[..., ::-1])


def line(figures: MaskFigures) -> dict[str, Any]:
    """A line of the table."""
    values = asdict(figures)
    place = f"{values.pop('set_name')}/{values.pop('prompt')}"
    return {"prompts": place, **values}


if __name__ == "__main__":
    sys.exit(main())
