"""What the commands of trainings have in common: where they run and write, and data for all."""

from __future__ import annotations

import argparse
import logging
import os
from collections.abc import Callable, Sequence

import torch

from ren_core.command import exit_code
from ren_core.progress import events_to


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

    def watched() -> None:
        if os.environ.get("RANK", "0") == "0":  # of torchrun
            events_to(args.out / "events.jsonl")
        run(args)

    return exit_code(watched)
