"""Options that command lines share; nothing here needs torch.

Names that are declared beside code which needs torch are repeated here; a test holds both equal.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ren_core.errors import ConfigError

PRESETS = ("embedded", "paper", "release")
ENGINES = ("torch", "openvino")
READERS = ("av", "decord")
SPLITS = ("train", "val", "test")
ORACLES = ("seeds", "outlines", "occurrence")
EXPORTS = ("coco", "cvat", "fiftyone", "mot")
DATA_PLACES = ("data/ego4d", "data/ego4d_data")
"""Where an Ego4D folder is looked for."""


def positive_count(text: str) -> int:
    """A whole number of at least 1, as the type of an option."""
    count = int(text)
    if count < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {count}")
    return count


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Preset, changes to it, device, precision and cache."""
    add_preset_options(parser)
    parser.add_argument(
        "--cache",
        type=Path,
        default=Path("runs/cache"),
        help="folder of tokens and answers, shared by runs (runs/cache)",
    )
    parser.add_argument(
        "--reader",
        choices=READERS,
        default="av",
        help="what decodes videos; decord is for MP4 of constant rate only (av)",
    )
    parser.add_argument(
        "--keep-cache-of",
        metavar="DIGEST",
        help='go on with the tokens that older code made, by the "code" in their stage.json',
    )


def add_preset_options(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Preset, changes to it, device and precision."""
    parser.add_argument(
        "--preset",
        choices=PRESETS,
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
        choices=("float32", "bfloat16", "float16"),
        help="precision of the networks (bfloat16 on a GPU that has the instructions, and with "
        "openvino on a processor that has them; else float32)",
    )
    parser.add_argument(
        "--engine",
        choices=ENGINES,
        help="what computes the networks (openvino for the small ones on a processor, else torch)",
    )
    parser.add_argument(
        "--compile",
        action="store_true",
        help="have torch compile encoder and head for the GPU: minutes at the start, faster after",
    )


def add_question(
    parser: argparse.ArgumentParser,
    pictures: argparse._ActionsContainer,
    moment: argparse._ActionsContainer,
) -> None:
    """What shows the object: pictures of it, or a box at a moment of a video.

    Args:
        parser: Of the command.
        pictures: The group that ``--query`` belongs to.
        moment: The group or parser that ``--at`` belongs to.
    """
    pictures.add_argument(
        "--query",
        type=Path,
        nargs="+",
        metavar="IMAGE",
        help="pictures of the object, with nothing but options after them; the opaque part of one "
        "is the object",
    )
    moment.add_argument(
        "--at",
        type=float,
        metavar="SECONDS",
        help="when the video shows it; that occurrence itself is no answer",
    )
    parser.add_argument("--box", metavar="X,Y,W,H", help="where it is then, in pixels (with --at)")
    parser.add_argument(
        "--query-box",
        metavar="X,Y,W,H",
        help="where it is in the one picture of --query, in pixels of that picture held upright",
    )


def check_query_box(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """End with a usage error if there is such a box and not one picture."""
    if args.query_box is not None and len(args.query or ()) != 1:
        parser.error("--query-box belongs to exactly one picture of --query")


def four_numbers(option: str, text: str) -> list[float]:
    """The numbers of a box as typed; how many there are is checked where they are used."""
    try:
        return [float(part) for part in text.split(",")]
    except ValueError as err:
        raise ConfigError(f"{option} needs four numbers X,Y,W,H in pixels, got {text!r}") from err
