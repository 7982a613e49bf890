"""The options of every command of the main job; nothing here needs torch."""

from __future__ import annotations

import argparse
import math
import re
from pathlib import Path

from ren_core.command import add_fields
from ren_core.commands.command_line import Command
from ren_core.executor.options import add_executor_options
from vq2d.commands.frame_config import FrameConfig
from vq2d.commands.options import (
    DATA_PLACES,
    EXPORTS,
    ORACLES,
    READERS,
    SPLITS,
    add_model_options,
    add_preset_options,
    add_question,
    positive_count,
)
from vq2d.scoring.bootstrap import BootstrapConfig


def add_run(parser: argparse.ArgumentParser) -> None:
    """Find where and when each object was last seen: the main job over an annotation file."""
    parser.add_argument("--split", default="val", choices=SPLITS)
    parser.add_argument(
        "--data",
        type=Path,
        help="folder in the ego4d CLI's layout (searched in "
        f"{', '.join(DATA_PLACES)}; else the embedded sample)",
    )
    parser.add_argument("--out", type=Path, help="folder of the results (runs/vq2d-...)")
    parser.add_argument(
        "--limit",
        type=positive_count,
        metavar="N",
        help="answer and score the first N queries only",
    )
    parser.add_argument(
        "--version", help="version to write in the submission (the annotation file's)"
    )
    parser.add_argument(
        "--shard",
        type=shard,
        metavar="I/N",
        help="answer the clips of the I-th of N shards only, and write part.json in the place of "
        "submission.json; vq2d merge puts the parts together",
    )
    parser.add_argument("--overwrite", action="store_true", help="answer again what has an answer")
    add_token_budget(parser)
    parser.add_argument("--no-videos", action="store_true", help="draw summaries only")
    parser.add_argument(
        "--oracle",
        nargs="+",
        action="extend",
        default=[],
        choices=ORACLES,
        dest="oracles",
        help="also score with the truth in the place of a stage, which shows what that stage "
        "loses: seeds (the true box at the found frame: segmentation), outlines (those of the true "
        "boxes in the found track: the tracker's outline), occurrence (the candidate in the true "
        "track: the choice)",
    )
    parser.add_argument(
        "--true-seeds",
        action="append_const",
        const="seeds",
        dest="oracles",
        help="the same as --oracle seeds",
    )
    add_model_options(parser)
    add_executor_options(parser)


def add_token_budget(parser: argparse.ArgumentParser) -> None:
    """How much of the tokens stays on disk: one number of bytes, by three names."""
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument(
        "--max-cache",
        type=byte_count,
        metavar="SIZE",
        help="tokens of finished clips that may stay on disk, such as 200GB or 1.5TB; those of the "
        "clips not used for longest go, and are made again when they are needed (all of preset "
        "embedded, else 200GB)",
    )
    for option, size, meaning in (
        ("--keep-tokens", math.inf, "keep all tokens"),
        ("--drop-tokens", 0.0, "drop the tokens of a clip as soon as its queries are answered"),
    ):
        budget.add_argument(
            option, action="store_const", const=size, dest="max_cache", help=meaning
        )


def byte_count(text: str) -> float:
    """Bytes of ``200GB`` and the like, as the type of an option.

    >>> byte_count("1.5TB")
    1500000000000.0
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?([kMGT]?)B", text)
    if found is None:
        raise argparse.ArgumentTypeError(f"must be a size such as 200GB or 1.5TB, got {text!r}")
    return float(found[1]) * 1000.0 ** " kMGT".index(found[2] or " ")


def shard(text: str) -> tuple[int, int]:
    """Number and count of ``I/N``, as the type of an option."""
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    if found is None or not 1 <= int(found[1]) <= int(found[2]):
        raise argparse.ArgumentTypeError(
            f"must be I/N with I from 1 to N, such as 2/8, got {text!r}"
        )
    return int(found[1]), int(found[2])


def add_merge(parser: argparse.ArgumentParser) -> None:
    """Make one submission of the parts that shards have written (vq2d run --shard)."""
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


def add_localize(parser: argparse.ArgumentParser) -> None:
    """Find where an object was last seen in your own video, by pictures or a box at a moment."""
    parser.usage = "%(prog)s VIDEO (--query IMAGE ... | --at SECONDS --box X,Y,W,H) [options]"
    parser.add_argument("video", type=Path, help="a video of any rate and size")
    what = parser.add_mutually_exclusive_group(required=True)
    add_question(parser, what, what)
    parser.add_argument("--until", type=float, metavar="SECONDS", help="search up to here (end)")
    parser.add_argument("--out", type=Path, help="folder of the results (runs/localize-VIDEO)")
    add_model_options(parser)


def add_remember(parser: argparse.ArgumentParser) -> None:
    """Add videos to a memory, so that they can be asked many times; what is known is skipped."""
    parser.add_argument("paths", type=Path, nargs="+", help="videos, and folders of videos")
    parser.add_argument("--memory", type=Path, required=True, help="folder of the memory")
    parser.add_argument(
        "--forget-after",
        metavar="TIME",
        help="remove recordings older than this from now on, such as 30d, 12h or 8w; never: keep "
        "all",
    )
    parser.add_argument("--reader", choices=READERS, default="av", help="what decodes videos (av)")
    add_preset_options(parser)
    add_executor_options(parser)


def add_ask(parser: argparse.ArgumentParser) -> None:
    """Ask a memory where an object was last seen, by pictures or a box at a moment of a video."""
    parser.usage = (
        "%(prog)s --memory DIR (--query IMAGE ... | --video FILE --at SECONDS --box X,Y,W,H)"
    )
    parser.add_argument("--memory", type=Path, required=True, help="folder of the memory")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--video", metavar="FILE", help="a video that shows it: a path, or a name in the memory"
    )
    add_question(parser, what, parser)
    parser.add_argument(
        "--before",
        metavar="TIME",
        help="only what was recorded before, such as 2026-11-20T18:00 (time of this machine)",
    )
    parser.add_argument("--top", type=positive_count, default=5, help="sightings at most (5)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the sightings as JSON")
    parser.add_argument(
        "--export",
        nargs="+",
        choices=EXPORTS,
        default=[],
        help="write the tracks for other tools, into --out",
    )
    parser.add_argument("--label", default="object", help="name of the object in exports (object)")
    parser.add_argument(
        "--out", type=Path, help="folder for a page with pictures and for exports (none drawn)"
    )
    parser.add_argument("--reader", choices=READERS, default="av", help="what decodes videos (av)")
    add_preset_options(parser)


def add_serve(parser: argparse.ArgumentParser) -> None:
    """Open a page in the browser on which a memory is asked: a box in a video, or pictures."""
    parser.add_argument("--memory", type=Path, required=True, help="folder of the memory")
    parser.add_argument(
        "--videos",
        type=Path,
        nargs="+",
        default=[],
        metavar="DIR",
        help="folders whose videos may be added on the page (none; files can always be sent)",
    )
    parser.add_argument("--open", action="store_true", help="open the page in the browser")
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on; with one that others can reach, the printed address holds a "
        "token (127.0.0.1)",
    )
    parser.add_argument("--port", type=int, default=8421, help="port; 0: any that is free (8421)")
    add_preset_options(parser)


def add_memory(parser: argparse.ArgumentParser) -> None:
    """List, check or remove what a memory holds; nothing of it ever leaves this machine."""
    actions = parser.add_subparsers(dest="action", required=True)
    of_all = argparse.ArgumentParser(add_help=False)
    of_all.add_argument("--memory", type=Path, required=True, help="folder of the memory")
    listing = actions.add_parser("list", parents=[of_all], help="its videos, the latest first")
    listing.add_argument("--json", action="store_true", help="as JSON")
    actions.add_parser("check", parents=[of_all], help="read all files; 1 if something is wrong")
    removal = actions.add_parser(
        "remove", parents=[of_all], help="delete all that is kept of videos, answers as well"
    )
    removal.add_argument("videos", nargs="+", help="paths, file names or fingerprints")


def add_evaluate(parser: argparse.ArgumentParser) -> None:
    """Score a VQ2D submission: the six official figures, and which queries were lost where.

    Of two submissions: by how much their figures differ, and whether by more than chance.
    """
    parser.add_argument(
        "--predictions",
        type=Path,
        required=True,
        nargs="+",
        metavar="FILE",
        help="submission JSON, or two of them to compare",
    )
    parser.add_argument("--annotations", type=Path, required=True, help="Ego4D annotation JSON")
    parser.add_argument("--json", type=Path, help="write figures, groups and rows per query here")
    parser.add_argument("--validate-only", action="store_true", help="check the form, no figures")
    parser.add_argument(
        "--repair", type=Path, help="write a mended submission here and go on with it"
    )
    parser.add_argument("--trace", type=Path, help="JSON of what each stage knew, by query key")
    parser.add_argument(
        "--version", help="version that the submission must carry (the annotation file's)"
    )
    meanings = {
        "resamples": "of two submissions: number of bootstrap resamples",
        "seed": "of the bootstrap",
        "unit": "what the bootstrap draws, query or clip (all queries of a clip at once)",
    }
    add_fields(parser, BootstrapConfig, meanings)


def add_check_data(parser: argparse.ArgumentParser) -> None:
    """Pre-flight check: what is there, what is missing, what a run costs, how to fetch the rest."""
    parser.add_argument(
        "--data", type=Path, required=True, help="output directory of the ego4d CLI"
    )
    parser.add_argument("--split", choices=SPLITS, default="val", help="default: val")
    parser.add_argument("--limit", type=int, metavar="N", help="check only the first N clips")
    parser.add_argument("--all", action="store_true", help="list every clip, however many")
    parser.add_argument(
        "--write-uids", type=Path, metavar="FILE", help="write the uids to fetch to this file"
    )
    parser.add_argument(
        "--tokens-per-crop",
        type=int,
        metavar="N",
        help="tokens kept per crop by a preset that merges them (every prompt of the grid)",
    )
    speed = parser.add_mutually_exclusive_group()
    speed.add_argument(
        "--seconds-per-crop",
        type=float,
        metavar="SECONDS",
        help="encoding time of one crop (measured here, if the preset's weights are at hand)",
    )
    speed.add_argument(
        "--gpu-figures",
        type=Path,
        metavar="FILE",
        help="take the speed that tools/gpu_check.sh --out FILE has measured",
    )
    add_preset_options(parser)


def add_baseline(parser: argparse.ArgumentParser) -> None:
    """Answer an annotation file without learned features: what the main job has to beat."""
    parser.add_argument("--data", type=Path, required=True, help="folder in the ego4d CLI's layout")
    parser.add_argument("--split", default="val", choices=SPLITS)
    parser.add_argument(
        "--method",
        choices=("held", "template"),
        required=True,
        help="held: a box of half the frame's sides in its middle, over all frames before the "
        "query; template: the last peak of normalised cross-correlation with the visual crop",
    )
    parser.add_argument(
        "--skip-around-crop",
        type=int,
        default=0,
        metavar="N",
        help="of template: no answer within N frames of the visual crop, such as 15 (0)",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument(
        "--limit", type=positive_count, metavar="N", help="answer and score the first N queries"
    )


def add_extract_frames(parser: argparse.ArgumentParser) -> None:
    """Write training pictures from an Ego4D folder's clips, for `vq2d extract-regions --images`.

    One frame per 15 s of every VQ2D train clip, as small as the released REN was trained on:

        vq2d extract-frames --data ~/ego4d_data --out runs/frames

    Each clip is a subfolder. A run that is given again goes on with what is missing or was damaged.
    """
    parser.add_argument("--data", type=Path, required=True, help="output folder of the ego4d CLI")
    parser.add_argument("--out", type=Path, required=True, help="folder of the stages")
    parser.add_argument("--split", choices=SPLITS, default="train", help="default: train")
    parser.add_argument("--limit", type=int, metavar="N", help="the first N clips by name only")
    parser.add_argument("--overwrite", action="store_true", help="extract all clips again")
    units = {"take_every": "annotation frames, 5 per second", "short_side": "px", "long_side": "px"}
    add_fields(parser, FrameConfig, units)


COMMANDS = {
    "localize": Command(add_localize, "vq2d.commands.localize"),
    "remember": Command(add_remember, "vq2d.commands.remember"),
    "ask": Command(add_ask, "vq2d.commands.ask"),
    "serve": Command(add_serve, "vq2d.commands.serve"),
    "memory": Command(add_memory, "vq2d.commands.memory"),
    "run": Command(add_run, "vq2d.commands.run"),
    "merge": Command(add_merge, "vq2d.commands.merge"),
    "evaluate": Command(add_evaluate, "vq2d.commands.evaluate"),
    "check-data": Command(add_check_data, "vq2d.commands.check_data"),
    "baseline": Command(add_baseline, "vq2d.commands.baseline"),
    "extract-frames": Command(add_extract_frames, "vq2d.commands.extract_frames"),
}
