"""One-shot object retrieval on COCO 2017: REN's aligned tokens beside the encoder's patches."""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path

import cv2
import numpy as np
import torch

from eval.coco import CocoSplit, load_split
from eval.retrieval import nearest
from eval.retrieval.pictures import draw_retrievals, spread
from eval.retrieval.queries import (
    FIGURES,
    Manifest,
    QueryConfig,
    QueryRow,
    class_means,
    macro_means,
    read_manifest,
    score_queries,
    select_queries,
)
from eval.retrieval.tokens import SOURCES, database_tokens, query_tokens, rank, stacked_queries
from ren_core.command import exit_code
from ren_core.errors import ConfigError, DataError
from ren_core.model import REN
from ren_core.stages import write_figures, write_json

QUERIES, DATABASE = "train2017", "val2017"


def main(argv: Sequence[str] | None = None) -> int:
    """Encode, search, score, draw; 0 done, 1 failed, 2 usage."""
    args = build_parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(args.threads)
    return exit_code(lambda: run(args))


def run(args: argparse.Namespace) -> None:
    """All steps in order; results in ``args.out``."""
    start = time.perf_counter()
    if args.top_k < 1 or args.batch_size < 1 or (args.limit is not None and args.limit < 1):
        raise ConfigError("--top-k, --batch-size and --limit must be at least 1")
    search = nearest.build_search(args.search, args.device)
    val, train = load_split(args.data, DATABASE), load_split(args.data, QUERIES)
    manifest = chosen_queries(args, train)
    queries, config = manifest.queries, manifest.config
    database = list(val.images.values())[: args.limit]
    ren = build_model(args)

    stages = args.out / "stages"
    tokens = database_tokens(val, database, ren, out=stages, batch_size=args.batch_size)
    asked = query_tokens(train, queries, ren, config, out=stages)
    ranked = rank(tokens, database, stacked_queries(asked, queries), search)
    rows = {
        source: list(score_queries(queries, database, ranked[source].scores, args.top_k))
        for source in SOURCES
    }

    figures = {source: macro_means(class_means(found)) for source, found in rows.items()}
    print_table(figures, len(queries), len(database), args.top_k)
    settings = {k: str(v) for k, v in vars(args).items()}
    result = {
        "figures": figures,
        "classes": {s: named_classes(found, train) for s, found in rows.items()},
        "rows": rows,
        "queries": config,
        "ren": ren.config,
        "encoder": ren.encoder.spec,
        "settings": settings,
        "seconds": round(time.perf_counter() - start, 1),
    }
    write_figures(args.out / "retrieval.json", result)
    answered = [i for i, row in enumerate(rows[SOURCES[0]]) if row.positives]
    positions = spread(answered, args.pictures)
    if positions:
        sheet = draw_retrievals(positions, queries, train, database, ranked, tokens=tokens)
        cv2.imwrite(str(args.out / "retrieval.jpg"), np.ascontiguousarray(sheet[..., ::-1]))


def chosen_queries(args: argparse.Namespace, train: CocoSplit) -> Manifest:
    """The queries of a given manifest, or newly drawn ones; saved beside the results."""
    asked = {f.name: v for f in fields(QueryConfig) if (v := getattr(args, f.name)) is not None}
    if args.manifest is None:
        config = QueryConfig(**asked)
        manifest = Manifest(config, select_queries(train, config))
    else:
        manifest = read_manifest(args.manifest, train, asked)
    if not manifest.queries:
        raise DataError(
            f"{train.file} holds no object of at least {manifest.config.min_area:g} px; lower "
            f"--min-area"
        )
    target = args.out / "manifest.json"
    if manifest.taken_from is None or manifest.taken_from.resolve() != target.resolve():
        write_json(target, {f.name: getattr(manifest, f.name) for f in fields(manifest)})
    return manifest


def build_model(args: argparse.Namespace) -> REN:
    """The REN that the command line asks for."""
    names = ("input_size", "prompting", "grid_size", "aggregate", "regions")
    overrides = {name: v for name in names if (v := getattr(args, name)) is not None}
    return REN.from_pretrained(args.ren, device=args.device, **overrides)


def named_classes(rows: Sequence[QueryRow], split: CocoSplit) -> dict[str, dict[str, float]]:
    """Mean figures by category name."""
    return {split.categories[c]: figures for c, figures in class_means(rows).items()}


def print_table(
    figures: Mapping[str, Mapping[str, float]], queries: int, database: int, top_k: int
) -> None:
    """Macro figures, their ceiling, and what a random ranking would have."""
    any_source = figures[SOURCES[0]]
    print(
        f"{queries} queries of {any_source['classes']:.0f} classes, {database} database images; "
        f"ceiling of mRP@{top_k} {any_source['ceiling']:.3f}, random ranking about "
        f"mAP {any_source['share']:.3f}"
    )
    print(f"{'':>8} {'mAP':>6} {f'mRP@{top_k}':>7}")
    for source, row in figures.items():
        print(f"{source:>8} {row[FIGURES[0]]:>6.3f} {row[FIGURES[1]]:>7.3f}")


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--data", type=Path, default=Path("data/coco"), help="COCO 2017 in its official layout")
    add("--out", type=Path, default=Path("runs/retrieval"), help="folder of results and tokens")
    add("--ren", default="embedded", help="preset or file of a region encoder (embedded)")
    add("--input-size", type=int, help="pixels (default: the encoder's own)")
    add("--prompting", choices=("grid", "slic"), help="default: the preset's")
    add("--grid-size", type=int, help="prompts per side (default: the preset's)")
    add(
        "--aggregate",
        action=argparse.BooleanOptionalAction,
        help="merge similar tokens (default: the preset's)",
    )
    add("--regions", type=int, help="merge into at most so many regions (default: the preset's)")
    add("--per-class", type=int, help="queries of each category (50)")
    add("--min-area", type=float, help="least pixels of a query's mask (1024)")
    add("--points", type=int, help="prompts inside a query's mask (128)")
    add("--seed", type=int, help="of the choice of queries and prompts (0)")
    add("--manifest", type=Path, help="take queries and their settings from this manifest.json")
    add("--top-k", type=int, default=50, help="K of RP@K (50)")
    add("--search", choices=nearest.NAMES, default="matrix", help="how vectors are compared")
    add("--limit", type=int, help="database images (default: all)")
    add("--pictures", type=int, default=6, help="queries to draw (6)")
    add("--batch-size", type=int, default=1, help="database images encoded at once (1)")
    add("--device", default="cpu", help="torch device")
    add("--threads", type=int, default=1, help="CPU threads")
    return parser


if __name__ == "__main__":
    sys.exit(main())
