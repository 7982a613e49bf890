"""What the command lines of the main job share: options for its models, and the frame of a run."""

from __future__ import annotations

import argparse
import logging
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from ren_core.errors import ConfigError, DataError, ShapeError
from vq2d.assembly import build_localizer
from vq2d.localizer import Localizer
from vq2d.masking.sam2_model import find_checkpoint
from vq2d.presets import PRESETS, preset


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Preset, changes to it, device, precision and cache."""
    parser.add_argument(
        "--cache",
        type=Path,
        default=Path("runs/cache"),
        help="folder of tokens and answers, shared by runs (runs/cache)",
    )
    parser.add_argument(
        "--preset",
        choices=sorted(PRESETS),
        help="configuration (paper with a GPU and a SAM 2 checkpoint, else embedded)",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="changes",
        help="change one value of the preset, such as search.top_k=10; repeatable",
    )
    parser.add_argument("--device", help="torch device (cuda where there is one, else cpu)")
    parser.add_argument(
        "--dtype",
        default="float32",
        choices=("float32", "bfloat16", "float16"),
        help="what the models are autocast to (float32)",
    )


def chosen_localizer(args: argparse.Namespace) -> tuple[str, Localizer]:
    """The name of the preset that the options ask for, and its loaded models.

    Raises:
        ConfigError: If a change does not fit the preset.
        DataError: If weights are missing.
    """
    device = args.device or ("cuda" if torch.cuda.is_available() else "cpu")
    name = args.preset or default_preset(device)
    config = preset(name, args.changes)
    return name, build_localizer(config, device=device, dtype=getattr(torch, args.dtype))


def default_preset(device: str) -> str:
    """``paper`` where a GPU and a SAM 2 checkpoint are at hand, else ``embedded``; says so."""
    reason = "no GPU"
    if device != "cpu":
        try:
            find_checkpoint(PRESETS["paper"].sam2)
        except DataError:
            reason = "no SAM 2 checkpoint"
        else:
            return "paper"
    print(f"preset embedded ({reason}): the small encoder and REN's own regions; see README")
    return "embedded"


def run_command(
    script: str,
    argv: Sequence[str] | None,
    args: argparse.Namespace,
    run: Callable[[argparse.Namespace, str], int],
) -> int:
    """Call ``run`` with the arguments and the command as typed; 1 and a sentence if it fails."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    typed = sys.argv[1:] if argv is None else argv
    try:
        return run(args, shlex.join(["python", f"pipelines/{script}.py", *typed]))
    except (ConfigError, DataError, ShapeError) as err:
        print(f"{script}: {err}", file=sys.stderr)
        return 1
