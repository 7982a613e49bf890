"""Measure a head's thresholds: when tokens are merged, and when an object counts as found."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from tqdm import tqdm

from eval.features import open_store
from eval.reid.calibration import (
    CalibrationConfig,
    SetCalibration,
    calibrate_clips,
    calibrate_videos,
    remembered,
)
from eval.reid.calibration_plot import InUse, draw_calibration
from eval.reid.describe import Describe
from eval.reid.presence import threshold_curve
from eval.reid.protocol import read_videos
from eval.reid.rows import describer
from pipelines.shared.cases import pointing_cases
from pipelines.shared.reid import (
    CLIP_SETS,
    RETRIEVAL,
    add_model_options,
    chosen_encoder,
    chosen_heads,
    chosen_rows,
    prompting,
    table,
    token_sources,
)
from ren_core.command import exit_code
from ren_core.encoders.base import PatchEncoder
from ren_core.presets import PRESETS
from ren_core.stages import write_figures

FLOORS = (0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7)
REMEMBERED = 96
"""Pictures whose tokens are kept: all of one query, or of the gallery."""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, draw, and print both tables; 0 done, 1 failed, 2 usage."""
    args = build_parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(args.threads)
    return exit_code(lambda: run(args))


def run(args: argparse.Namespace) -> None:
    """Measure, draw, print, write."""
    encoder = chosen_encoder(args).to(args.device)
    describe, rows = chosen_tokens(encoder, args)
    config = CalibrationConfig(
        rows=rows,
        query=args.query,
        similarities=tuple(args.similarities),
        min_group=args.min_group,
    )
    found = {name: calibrate_set(name, describe, config, args) for name in args.sets}
    print(report(found, rows))
    in_use = InUse(merge_similarity=args.mark_merge, floor=args.mark_floor)
    draw_calibration(args.out / "calibration.png", found, rows[-1], in_use)
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
    defaults = CalibrationConfig(rows=())
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


def chosen_tokens(
    encoder: PatchEncoder, args: argparse.Namespace
) -> tuple[Describe, tuple[str, ...]]:
    """Patches and the REN tokens of the heads, and the names of their rows."""
    spec = encoder.spec
    heads = chosen_heads(args.head, spec)
    kinds = chosen_rows(("patch", "ren"), spec, heads)
    sources = token_sources(kinds, spec, prompting(args.grid, spec), heads=heads)
    describe = describer(open_store(encoder, args.features), sources)
    names = tuple(name for source in sources for name in source.names)
    return remembered(describe, REMEMBERED), names


def calibrate_set(
    name: str, describe: Describe, config: CalibrationConfig, args: argparse.Namespace
) -> SetCalibration:
    """All measurements on one set."""
    if name == RETRIEVAL:
        videos = read_videos(args.data / "eval" / name)[: args.limit]
        return calibrate_videos(videos, describe, config)
    cases = pointing_cases(args.data / name, args.frames, args.limit, absent=args.absent)
    return calibrate_clips(tqdm(cases, desc=name, disable=None), describe, config)


def report(found: Mapping[str, SetCalibration], rows: Sequence[str]) -> str:
    """Two tables per set: merging, and the search threshold of every kind of tokens."""
    texts = []
    for name, calibration in found.items():
        texts += [name, table([asdict(point) for point in calibration.merging])]
        for row in rows:
            own = [r for r in calibration.presence if r.row == row]
            curve = threshold_curve(own, FLOORS)
            texts.append(table([{"row": row, **asdict(point)} for point in curve]))
    return "\n\n".join(texts)


if __name__ == "__main__":
    sys.exit(main())
