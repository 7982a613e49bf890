"""Compare kinds of tokens of one encoder: re-identification on DAVIS, pointing on VQ clips."""

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

from eval.features import open_store
from eval.reid.pointing import evaluate_pointing
from eval.reid.protocol import ReidConfig, evaluate_retrieval, read_videos
from eval.reid.sources import TokenSource, build_tokenizer
from eval.reid.tokens import Comparison, Tokenize
from pipelines.shared.cases import pointing_cases
from pipelines.shared.reid import (
    CLIP_SETS,
    KINDS,
    RETRIEVAL,
    Line,
    add_model_options,
    chosen_encoder,
    chosen_heads,
    chosen_kinds,
    prompting,
    table,
    token_sources,
)
from ren_core.command import exit_code
from ren_core.encoders.base import PatchEncoder
from ren_core.progress import tqdm
from ren_core.stages import write_figures

RETRIEVAL_FIGURES = ("frame_ap", "r_precision", "auc", "pointing")
POINTING_FIGURES = ("hits", "margin")
QUERIES = ("pooled", "centre")


def main(argv: Sequence[str] | None = None) -> int:
    """Print one line per kind of tokens and of query; 0 done, 1 failed, 2 usage."""
    args = build_parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(args.threads)
    return exit_code(lambda: run(args))


def run(args: argparse.Namespace) -> None:
    """Compare, print, write."""
    encoder = chosen_encoder(args).to(args.device)
    result = evaluate_all(encoder, args)
    print(table(result["figures"]))
    print(f"encoder: {result['seconds_per_image']:.3f} processor seconds per image")
    if args.out is not None:
        write_figures(args.out, result)


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_model_options(parser)
    parser.add_argument(
        "--rows", nargs="+", choices=KINDS, help="kinds of tokens (default: all there are)"
    )
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


def evaluate_all(encoder: PatchEncoder, args: argparse.Namespace) -> dict[str, Any]:
    """The lines of the table, the figures of every query, and how they were made."""
    spec = encoder.spec
    heads = chosen_heads(args.head, spec)
    kinds = chosen_kinds(args.rows, spec, heads)
    store = open_store(encoder, args.features)
    sources = token_sources(kinds, spec, prompting(args.grid, spec), heads=heads, seed=args.seed)
    comparisons = comparisons_of(sources, kinds, args.query)
    rows = evaluate(build_tokenizer(store, sources), comparisons, args)
    return {
        "figures": summary(rows),
        "seconds_per_image": seconds_per_image(encoder),
        "encoded_now": store.encoded,
        "spec": spec,
        "settings": {name: str(value) for name, value in vars(args).items()},
        "rows": rows,
    }


def comparisons_of(
    sources: Sequence[TokenSource], kinds: Sequence[str], queries: Sequence[Any]
) -> list[Comparison]:
    """One per line of the table; the kind ``mask`` is the query ``mask`` among patches."""
    own = [kind for source in sources for kind in source.kinds]
    comparisons = [Comparison(kind, query) for kind in own for query in queries]
    if "patch" not in kinds:
        comparisons = [c for c in comparisons if c.kind != "patch"]
    if "mask" in kinds:
        comparisons.append(Comparison("patch", "mask"))
    return sorted(comparisons, key=lambda c: own.index(c.kind))


def evaluate(
    tokenize: Tokenize, comparisons: Sequence[Comparison], args: argparse.Namespace
) -> dict[str, list[Line]]:
    """Figures of every query in every comparison, by set."""
    rows: dict[str, list[Line]] = {}
    if RETRIEVAL in args.sets:
        videos = read_videos(args.data / "eval" / RETRIEVAL)[: args.limit]
        config = ReidConfig(gallery_step=args.gallery_step)
        rows[RETRIEVAL] = [
            asdict(r) for r in evaluate_retrieval(videos, tokenize, config, comparisons)
        ]
    for name in (name for name in CLIP_SETS if name in args.sets):
        cases = tqdm(
            pointing_cases(args.data / name, args.frames, args.limit), desc=name, disable=None
        )
        rows[name] = [asdict(r) for r in evaluate_pointing(cases, tokenize, comparisons)]
    return rows


def summary(rows: dict[str, list[Line]]) -> list[Line]:
    """The lines of the table: means over the queries of every set."""
    lines: dict[tuple[str, str], Line] = {}
    for name, found in rows.items():
        prefix = "" if name == RETRIEVAL else f"{name}/"
        figures = RETRIEVAL_FIGURES if name == RETRIEVAL else POINTING_FIGURES
        for key in dict.fromkeys((r["kind"], r["query"]) for r in found):
            own = [r for r in found if (r["kind"], r["query"]) == key]
            line = lines.setdefault(key, {"kind": key[0], "query": key[1]})
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
