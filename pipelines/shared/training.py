"""What the commands of trainings have in common: where they run and write, and data for all."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from ren_core.command import exit_code


def run_command(
    parser: argparse.ArgumentParser,
    run: Callable[[argparse.Namespace], None],
    argv: Sequence[str] | None,
) -> int:
    """Parse, set the threads, train; 0 done, 1 failed, 2 usage."""
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if args.threads:
        torch.set_num_threads(args.threads)
    return exit_code(lambda: run(args))


def add_run_options(parser: argparse.ArgumentParser, *, file: str, cached: str) -> None:
    """Where a training runs, writes and stops.

    Args:
        parser: Of the command.
        file: Name of the file that it writes.
        cached: What it keeps encoded.
    """
    parser.add_argument("--out", type=Path, required=True, help="folder of caches, curves, states")
    parser.add_argument("--save", type=Path, help=f"file of the head (default: OUT/{file})")
    parser.add_argument("--cache", type=Path, help=f"encoded {cached}, shared by runs (OUT/cache)")
    parser.add_argument("--device", default="cpu", help="torch device")
    parser.add_argument("--threads", type=int, help="CPU threads (default: torch's own)")
    parser.add_argument("--stop-after", type=int, help="stop after so many steps, to go on later")


def add_mask_data(data: argparse._ArgumentGroup) -> None:
    """Pictures with masks that every training takes."""
    data.add_argument("--bsds", type=Path, help="BSDS500: images/<split>, segmentations/<split>")
    data.add_argument("--scenes", type=Path, help="rendered scenes with instance ids")
    data.add_argument("--coco", type=Path, nargs=2, help="pictures, and an instances_*.json")
    data.add_argument("--regions", type=Path, help="store made by pipelines/extract_regions.py")
