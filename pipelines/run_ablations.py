"""Ablations on segmentation (the paper's Figures 7-8 and Table 6).

    python pipelines/run_ablations.py --dataset camvid --data DATA/camvid --preset small

Token count and mIoU against the merge threshold; grid and SLIC prompts with and without merging.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from eval.ablations import (
    ablation_table,
    plot_token_count,
    prompting_methods,
    rows_of,
    token_count_methods,
)
from eval.segmentation import evaluate, train
from pipelines.command import exit_code
from pipelines.run_segmentation import add_job_arguments, load_model, open_job
from ren_core.errors import ConfigError, DataError, ShapeError
from ren_core.stages import write_figures

THRESHOLDS = (0.875, 0.9, 0.925, 0.95, 0.975, 0.98, 0.985, 0.99, 0.995)


def main(argv: Sequence[str] | None = None) -> int:
    """Train once, score every row, print, plot; 0 done, 1 failed, 2 usage."""
    args = build_parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    return exit_code(lambda: run(args), usage=(ConfigError, ShapeError))


def run(args: argparse.Namespace) -> None:
    """All steps in order; results in ``args.out``."""
    started = time.monotonic()
    ren = load_model(args)
    own = ren.config.merge_similarity if args.merge is None else args.merge
    counting, prompting = token_count_methods(args.thresholds), prompting_methods(own)
    job = open_job(args, ren, tuple(dict.fromkeys([*counting, *prompting])))
    columns = {name: read_column(Path(file)) for name, file in args.column}
    heads = train(job.training, ren, job.config, job.encode, workers=args.workers)
    scores = evaluate(job.evaluated, ren, job.config, heads, job.encode)
    tables = {"token count": rows_of(scores, counting), "prompting": rows_of(scores, prompting)}
    for title, rows in tables.items():
        print(ablation_table(title, rows, columns) + "\n")
    data = job.evaluated
    images = f"{data.name} {data.split}, {len(data.examples)} images, {len(args.seeds)} seeds"
    plot_token_count(
        args.out / "token_count.png", tables["token count"], f"{args.model} encoder, {images}"
    )
    result = {
        **tables,
        "other tasks": columns,
        "rows": [score.row(data.classes) for score in scores],
        "config": job.config,
        "model": ren.config,
        "settings": {name: str(value) for name, value in vars(args).items()},
        "torch": torch.__version__,
        "seconds": time.monotonic() - started,
    }
    write_figures(args.out / "ablations.json", result)
    print(args.out)


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_job_arguments(parser)
    parser.set_defaults(out=Path("runs/ablations"))
    add = parser.add_argument
    add("--thresholds", type=float, nargs="+", default=THRESHOLDS, metavar="MU",
        help="cosines of the token count")  # fmt: skip
    add("--merge", type=float, metavar="MU", help="cosine of the prompting table (the model's own)")
    add("--column", nargs=2, action="append", default=[], metavar=("NAME", "FILE"),
        help="another task's figures, JSON {method: share}, such as retrieval's")  # fmt: skip
    return parser


def read_column(file: Path) -> dict[str, float]:
    """Another task's figure by method name.

    Raises:
        DataError: If the file is missing or not of that form.
    """
    try:
        return {str(name): float(value) for name, value in json.loads(file.read_text()).items()}
    except (OSError, ValueError, AttributeError, TypeError) as err:
        raise DataError(
            f'{file} does not hold figures ({err}); give JSON such as {{"ren-grid": 0.65}}'
        ) from err


if __name__ == "__main__":
    sys.exit(main())
