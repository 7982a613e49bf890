"""Make one submission of the parts that shards have written (vq2d run --shard)."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence

from ren_core.command import exit_code
from ren_core.stages import write_json
from vq2d.commands.parsers import COMMANDS
from vq2d.ego4d.documents import load_document, official_form
from vq2d.ego4d.parts import merge_parts
from vq2d.ego4d.submission import validate
from vq2d.scoring.report import print_problems


def main(argv: Sequence[str] | None = None) -> int:
    """Merge and validate; 0 the submission is valid, 1 it is not or parts do not fit, 2 usage."""
    args = COMMANDS["merge"].parser("vq2d merge").parse_args(argv)
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
