"""Calibrate a head: from which cosine tokens are merged, and from which an object is there."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import torch

from eval.features import open_store
from eval.reid.calibration import (
    CalibrationConfig,
    SetCalibration,
    calibrate_clips,
    calibrate_videos,
    remembered,
)
from eval.reid.calibration_plot import InUse, draw_calibration
from eval.reid.presence import threshold_curve
from eval.reid.protocol import read_videos
from eval.reid.sources import build_tokenizer
from eval.reid.tokens import Tokenize
from pipelines.shared.cases import pointing_cases
from pipelines.shared.reid import (
    CLIP_SETS,
    RETRIEVAL,
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
from ren_core.presets import PRESETS
from ren_core.progress import tqdm
from ren_core.stages import write_figures

FLOORS = (0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7)
REMEMBERED = 96
"""Pictures whose tokens are kept: all of one query, or of the gallery."""


def main(argv: Sequence[str] | None = None) -> int:
    """Try thresholds, draw, and print both tables; 0 done, 1 failed, 2 usage."""
    args = build_parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(args.threads)
    return exit_code(lambda: run(args))


def run(args: argparse.Namespace) -> None:
    """Try thresholds, draw, print, write."""
    encoder = chosen_encoder(args).to(args.device)
    tokenize, kinds = chosen_tokenizer(encoder, args)
    config = CalibrationConfig(
        kinds=kinds,
        query=args.query,
        similarities=tuple(args.similarities),
        min_group=args.min_group,
    )
    found = {name: calibrate_set(name, tokenize, config, args) for name in args.sets}
    print(report(found, kinds))
    in_use = InUse(merge_similarity=args.mark_merge, floor=args.mark_floor)
    draw_calibration(args.out / "calibration.png", found, kinds[-1], in_use)
    settings = {name: str(value) for name, value in vars(args).items()}
    result = {"spec": encoder.spec, "settings": settings, "config": config, "sets": found}
    write_figures(args.out / "calibration.json", result)


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_model_options(parser)
    known = (RETRIEVAL, *CLIP_SETS)
    parser.add_argument("--sets", nargs="+", choices=known, default=(RETRIEVAL, "synvq_dev"))
    parser.add_argument("--query", choices=("pooled", "centre"), default="centre", help="token")
    defaults = CalibrationConfig(kinds=())
    parser.add_argument(
        "--similarities", nargs="+", type=float, default=defaults.similarities, help="μ to try"
    )
    parser.add_argument(
        "--min-group", type=int, default=defaults.min_group, help="prompts of the smallest region"
    )
    in_use = PRESETS["embedded"].merge_similarity
    parser.add_argument("--mark-merge", type=float, default=in_use, help="μ in use, for the plot")
    parser.add_argument("--mark-floor", type=float, default=0.3, help="floor in use, for the plot")
    parser.add_argument("--frames", type=int, default=3, help="true frames of each clip query")
    parser.add_argument("--absent", type=int, default=3, help="frames without it of each query")
    parser.add_argument("--limit", type=int, help="videos, and clips of each set (default: all)")
    parser.add_argument("--out", type=Path, required=True, help="folder of JSON and PNG")
    return parser


def chosen_tokenizer(
    encoder: PatchEncoder, args: argparse.Namespace
) -> tuple[Tokenize, tuple[str, ...]]:
    """What makes patches and the REN tokens of the heads, and the names of these kinds."""
    spec = encoder.spec
    heads = chosen_heads(args.head, spec)
    kinds = chosen_kinds(("patch", "ren"), spec, heads)
    sources = token_sources(kinds, spec, prompting(args.grid, spec), heads=heads)
    tokenize = build_tokenizer(open_store(encoder, args.features), sources)
    names = tuple(name for source in sources for name in source.kinds)
    return remembered(tokenize, REMEMBERED), names


def calibrate_set(
    name: str, tokenize: Tokenize, config: CalibrationConfig, args: argparse.Namespace
) -> SetCalibration:
    """Calibrate on one set."""
    if name == RETRIEVAL:
        videos = read_videos(args.data / "eval" / name)[: args.limit]
        return calibrate_videos(videos, tokenize, config)
    cases = pointing_cases(args.data / name, args.frames, args.limit, absent=args.absent)
    return calibrate_clips(tqdm(cases, desc=name, disable=None), tokenize, config)


def report(found: Mapping[str, SetCalibration], kinds: Sequence[str]) -> str:
    """Two tables per set: merging, and the search threshold of every kind of tokens."""
    texts = []
    for name, calibration in found.items():
        texts += [name, table([asdict(point) for point in calibration.merging])]
        for kind in kinds:
            own = [row for row in calibration.presence if row.kind == kind]
            curve = threshold_curve(own, FLOORS)
            texts.append(table([{"kind": kind, **asdict(point)} for point in curve]))
    return "\n\n".join(texts)


if __name__ == "__main__":
    sys.exit(main())
