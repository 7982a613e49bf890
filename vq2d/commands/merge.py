"""Make one submission of the parts that shards have written (vq2d run --shard)."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from ren_core.command import exit_code
from ren_core.stages import write_json
from vq2d.ego4d.documents import load_document, official_form
from vq2d.ego4d.parts import merge_parts
from vq2d.ego4d.submission import validate
from vq2d.scoring.report import print_problems


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "parts", type=Path, nargs="+", metavar="PART", help="part.json of each shard"
    )
    parser.add_argument("--annotations", type=Path, required=True, help="Ego4D annotation JSON")
    parser.add_argument("--out", type=Path, required=True, help="the submission to write, a file")
    parser.add_argument(
        "--partial",
        action="store_true",
        help="leave queries that are in no part empty (they count as misses)",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Merge and validate; 0 the submission is valid, 1 it is not or parts do not fit, 2 usage."""
    args = build_parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    return exit_code(lambda: run(args))


def run(args: argparse.Namespace) -> int:
    """Do what the command line asks; the exit code."""
    annotations, _ = official_form(load_document(args.annotations))
    parts = {path: load_document(path) for path in args.parts}
    merged = merge_parts(parts, annotations, partial=args.partial)
    is_valid = print_problems(validate(merged, annotations, expected_version=merged["version"]))
    write_json(args.out, merged)
    print(f"submission  {args.out}, of {len(parts)} parts")
    return 0 if is_valid else 1
