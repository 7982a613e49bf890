"""Ablations on segmentation (the paper's Figures 7-8 and Table 6).

    python pipelines/run_ablations.py --dataset camvid --data DATA/camvid --preset small

Token count and mIoU against the merge threshold; grid and SLIC prompts with and without merging.
For Table 6, run pipelines/run_retrieval.py with --prompting grid and slic, each with --aggregate
and with --no-aggregate, and name its files: --column mRP@50 RUN1/retrieval.json RUN2/...
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

import torch

from eval.segmentation.ablations import (
    RETRIEVAL_FIGURES,
    ablation_table,
    mean_column,
    plot_token_count,
    prompting_methods,
    retrieval_column,
    rows_of,
    token_count_methods,
)
from eval.segmentation.compare import evaluate, train
from eval.segmentation.config import merging_of
from pipelines.shared.segmentation import Job, add_job_arguments, load_model, open_job
from ren_core.command import exit_code
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
    own = merging_of(ren.config) if args.merge is None else {"merge_similarity": args.merge}
    counting = token_count_methods(args.thresholds, args.regions)
    prompting = prompting_methods(own)
    job = open_job(args, ren, tuple(dict.fromkeys([*counting, *prompting])))
    columns = {name: read_columns(name, files, job) for name, *files in args.column}
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
        "scored_training_images": job.trained_on,
        "caveat": job.caveat,
        "model": ren.config,
        "settings": {name: str(value) for name, value in vars(args).items()},
        "torch": torch.__version__,
        "seconds": time.monotonic() - started,
    }
    write_figures(args.out / "ablations.json", result)
    print(f"{job.caveat}\n\n{args.out}" if job.caveat else args.out)


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
    add("--regions", type=int, nargs="+", default=(), metavar="K",
        help="numbers of regions of the token count, by k-means")  # fmt: skip
    add("--merge", type=float, metavar="MU", help="cosine of the prompting table (as the model)")
    add("--column", nargs="+", action="append", default=[], metavar=("NAME", "FILE"),
        help="another task's figures, mean over the files: mAP or mRP (as in mRP@50) of "
        "run_retrieval.py's retrieval.json, or any NAME of JSON {method: share}")  # fmt: skip
    return parser


def read_columns(name: str, files: Sequence[str], job: Job) -> dict[str, float]:
    """Another task's figure by method name, mean over the files that know a method.

    Raises:
        ConfigError: If there is no file, or retrieval has no figure of that name.
        DataError: If a file is missing, not of that form, or of another model.
    """
    if not files:
        raise ConfigError(f"--column {name} names no file; add the JSON of its figures")
    return mean_column([read_column(name, Path(file), job) for file in files])


def read_column(name: str, file: Path, job: Job) -> dict[str, float]:
    """The figures of one file; see ``read_columns``."""
    try:
        result = json.loads(file.read_text())
        if not isinstance(result.get("figures"), dict):
            return {str(method): float(value) for method, value in result.items()}
        check_retrieval(name, file, result, job)
        return retrieval_column(result, name.split("@")[0])
    except ConfigError:  # a ValueError too, but not of the file
        raise
    except (OSError, ValueError, AttributeError, TypeError, KeyError) as err:
        raise DataError(
            f"{file} does not hold figures ({err!r}); give run_retrieval.py's retrieval.json, or "
            f'JSON such as {{"ren-grid": 0.65}}'
        ) from err


def check_retrieval(name: str, file: Path, result: dict[str, Any], job: Job) -> None:
    """See that a retrieval's figures may stand under this name beside this model's.

    Raises:
        ConfigError: If the name asks for another figure than those of the file.
        DataError: If another model made them.
    """
    figure, _, top_k = name.partition("@")
    if figure not in RETRIEVAL_FIGURES or top_k not in ("", result["settings"]["top_k"]):
        raise ConfigError(
            f"{file} has {' and '.join(RETRIEVAL_FIGURES)}, with K {result['settings']['top_k']} "
            f"of precision, not {name}; name the column after one of them"
        )
    ren, own = result["ren"], job.ren.config
    theirs = (ren["encoder"], ren["head"], result["encoder"]["input_size"], ren["grid_size"])
    ours = (own.encoder, own.head, job.ren.image_size, job.config.grid_size)
    if theirs != ours:
        raise DataError(
            f"{file} is of encoder, head, input size and grid size {theirs}, this table of {ours}; "
            f"repeat one of them with the settings of the other"
        )


if __name__ == "__main__":
    sys.exit(main())
