"""Measure kinds of tokens on one encoder: re-identification on DAVIS, pointing on VQ clips."""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from eval.features import open_store
from eval.reid.describe import Describe, Measure
from eval.reid.pointing import evaluate_pointing
from eval.reid.protocol import ReidConfig, evaluate_retrieval, read_videos
from eval.reid.rows import Rows, describer
from pipelines.shared.cases import pointing_cases
from pipelines.shared.reid import (
    CLIP_SETS,
    RETRIEVAL,
    ROWS,
    Line,
    add_model_options,
    chosen_encoder,
    chosen_heads,
    chosen_rows,
    prompting,
    table,
    token_sources,
)
from ren_core.command import exit_code
from ren_core.encoders.base import PatchEncoder
from ren_core.stages import write_figures

RETRIEVAL_FIGURES = ("frame_ap", "r_precision", "auc", "pointing")
POINTING_FIGURES = ("hits", "margin")
QUERIES = ("pooled", "centre")


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print one line per kind of tokens and query; 0 done, 1 failed, 2 usage."""
    args = build_parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(args.threads)
    return exit_code(lambda: run(args))


def run(args: argparse.Namespace) -> None:
    """Measure, print, write."""
    encoder = chosen_encoder(args).to(args.device)
    result = measure_all(encoder, args)
    print(table(result["figures"]))
    print(f"encoder: {result['seconds_per_image']:.3f} processor seconds per image")
    if args.out is not None:
        write_figures(args.out, result)


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_model_options(parser)
    parser.add_argument("--rows", nargs="+", choices=ROWS, help="tokens (default: all there are)")
    parser.add_argument(
        "--sets", nargs="+", default=(RETRIEVAL, *CLIP_SETS), choices=(RETRIEVAL, *CLIP_SETS)
    )
    parser.add_argument("--query", nargs="+", choices=QUERIES, default=QUERIES, help="query tokens")
    parser.add_argument("--seed", type=int, default=0, help="of the untrained head")
    parser.add_argument("--gallery-step", type=int, default=5, help="frames between gallery frames")
    parser.add_argument("--frames", type=int, default=3, help="true frames per pointing query")
    parser.add_argument("--limit", type=int, help="videos, and clips of each set (default: all)")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    return parser


def measure_all(encoder: PatchEncoder, args: argparse.Namespace) -> dict[str, Any]:
    """Figures of every line of the table, their rows per query, and how they were made."""
    spec = encoder.spec
    heads = chosen_heads(args.head, spec)
    kinds = chosen_rows(args.rows, spec, heads)
    store = open_store(encoder, args.features)
    sources = token_sources(kinds, spec, prompting(args.grid, spec), heads=heads, seed=args.seed)
    rows = measure(describer(store, sources), measures_of(sources, kinds, args.query), args)
    return {
        "figures": summary(rows),
        "seconds_per_image": seconds_per_image(encoder),
        "encoded_now": store.encoded,
        "spec": spec,
        "settings": {name: str(value) for name, value in vars(args).items()},
        "rows": rows,
    }


def measures_of(
    sources: Sequence[Rows], kinds: Sequence[str], queries: Sequence[Any]
) -> list[Measure]:
    """The lines of the table; the query ``mask`` stands beside the patches it is made of."""
    names = [name for source in sources for name in source.names]
    measures = [Measure(name, query) for name in names for query in queries]
    if "patch" not in kinds:
        measures = [measure for measure in measures if measure.row != "patch"]
    if "mask" in kinds:
        measures.append(Measure("patch", "mask"))
    return sorted(measures, key=lambda measure: names.index(measure.row))


def measure(
    describe: Describe, measures: Sequence[Measure], args: argparse.Namespace
) -> dict[str, list[Line]]:
    """Rows per query and line of the table, for every set."""
    rows: dict[str, list[Line]] = {}
    if RETRIEVAL in args.sets:
        videos = read_videos(args.data / "eval" / RETRIEVAL)[: args.limit]
        config = ReidConfig(gallery_step=args.gallery_step)
        rows[RETRIEVAL] = [
            asdict(r) for r in evaluate_retrieval(videos, describe, config, measures)
        ]
    for name in (name for name in CLIP_SETS if name in args.sets):
        cases = tqdm(
            pointing_cases(args.data / name, args.frames, args.limit), desc=name, disable=None
        )
        rows[name] = [asdict(r) for r in evaluate_pointing(cases, describe, measures)]
    return rows


def summary(rows: dict[str, list[Line]]) -> list[Line]:
    """Means over the queries of every set: one dictionary per line of the table."""
    lines: dict[tuple[str, str], Line] = {}
    for name, found in rows.items():
        prefix = "" if name == RETRIEVAL else f"{name}/"
        figures = RETRIEVAL_FIGURES if name == RETRIEVAL else POINTING_FIGURES
        for key in dict.fromkeys((r["row"], r["query"]) for r in found):
            own = [r for r in found if (r["row"], r["query"]) == key]
            line = lines.setdefault(key, {"row": key[0], "query": key[1]})
            line |= {prefix + figure: mean(own, figure) for figure in figures}
    return list(lines.values())


def mean(rows: Sequence[Line], figure: str) -> float:
    """Mean over rows, undefined values left out; NaN if all are."""
    values = [value for row in rows if not np.isnan(value := float(row[figure]))]
    return float(np.mean(values)) if values else float("nan")


def seconds_per_image(encoder: PatchEncoder, repeats: int = 5) -> float:
    """Processor seconds of the encoder for one image of its own size."""
    side = encoder.spec.input_size
    image = torch.zeros(1, 3, side, side)
    encoder(image)
    start = time.process_time()
    for _ in range(repeats):
        encoder(image)
    return (time.process_time() - start) / repeats


if __name__ == "__main__":
    sys.exit(main())
