"""Measure an encoder's patches: re-identification on DAVIS frames, pointing on VQ clips."""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from eval.describe import Describe, patch_describer
from eval.pointing import PointingCase, evaluate_pointing
from eval.reidentification import ReidConfig, evaluate_retrieval, read_videos
from ren_core.encoders.base import PatchEncoder
from ren_core.encoders.catalog import NAMES, build_composite, build_encoder
from ren_core.errors import ConfigError, DataError
from ren_core.geometry import Boxes, expand_box
from ren_core.stages import to_plain, write_json
from vq2d.annotations import annotation_path, load_annotations
from vq2d.types import FrameSource, VisualQuery
from vq2d.video import open_clip

Figures = dict[str, float]
RETRIEVAL, CLIP_SETS = "davis_dev", ("synvq_dev", "realvq_dev")


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print one table row; 0 done, 1 failed, 2 usage."""
    args = build_parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(args.threads)
    try:
        encoder = chosen_encoder(args).to(args.device)
        figures, rows = measure(encoder, args)
    except ConfigError as err:
        print(err, file=sys.stderr)
        return 2
    except DataError as err:
        print(err, file=sys.stderr)
        return 1
    print("  ".join(f"{name} {value:.3f}" for name, value in figures.items()))
    if args.out is not None:
        settings = {k: str(v) for k, v in vars(args).items()}
        result = {"figures": figures, "spec": encoder.spec, "settings": settings, "rows": rows}
        write_json(args.out, defined(to_plain(result)))
    return 0


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--encoder", default="embedded", choices=NAMES, help="catalogue name")
    parser.add_argument("--whitening", type=Path, help="composite to use in place of --encoder")
    parser.add_argument(
        "--sets", nargs="+", default=(RETRIEVAL, *CLIP_SETS), choices=(RETRIEVAL, *CLIP_SETS)
    )
    parser.add_argument("--input-size", type=int, help="pixels (default: the encoder's own)")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="data folder")
    parser.add_argument("--query", choices=("pooled", "centre"), default="pooled", help="token")
    parser.add_argument("--gallery-step", type=int, default=5, help="frames between gallery frames")
    parser.add_argument("--frames", type=int, default=3, help="true frames per pointing query")
    parser.add_argument("--limit", type=int, help="videos, and clips of each set (default: all)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--device", default="cpu", help="torch device")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    return parser


def chosen_encoder(args: argparse.Namespace) -> PatchEncoder:
    """The catalogue's encoder, or another composite."""
    if args.whitening is not None:
        return build_composite(args.whitening, input_size=args.input_size)
    return build_encoder(args.encoder, input_size=args.input_size)


def measure(
    encoder: PatchEncoder, args: argparse.Namespace
) -> tuple[Figures, dict[str, list[dict[str, object]]]]:
    """All figures, and their rows per query."""
    describe = patch_describer(encoder)
    config = ReidConfig(gallery_step=args.gallery_step, query=args.query)
    rows, figures = {}, {}
    if RETRIEVAL in args.sets:
        videos = read_videos(args.data / "eval" / RETRIEVAL)[: args.limit]
        rows[RETRIEVAL] = [asdict(r) for r in evaluate_retrieval(videos, describe, config)]
        figures = means(rows[RETRIEVAL], "", ("frame_ap", "r_precision", "auc", "pointing"))
    for name in (name for name in CLIP_SETS if name in args.sets):
        cases = pointing_cases(args.data / name, args.frames, args.limit)
        found = evaluate_pointing(tqdm(cases, desc=name, disable=None), describe, args.query)
        rows[name] = [asdict(r) for r in found]
        figures |= means(rows[name], f"{name}/", ("hits", "margin"))
    return figures | {"seconds_per_image": seconds_per_image(encoder, describe)}, rows


def defined(value: Any) -> Any:  # noqa: ANN401 - JSON-like values of any depth
    """The same value with null where a figure is undefined (NaN)."""
    if isinstance(value, dict):
        return {name: defined(item) for name, item in value.items()}
    if isinstance(value, list):
        return [defined(item) for item in value]
    return None if isinstance(value, float) and np.isnan(value) else value


def means(rows: Sequence[dict[str, object]], prefix: str, names: Sequence[str]) -> Figures:
    """Means over rows, undefined values left out."""
    columns = {n: [v for r in rows if not np.isnan(v := float(str(r[n])))] for n in names}
    return {prefix + n: float(np.mean(c)) if c else float("nan") for n, c in columns.items()}


def seconds_per_image(encoder: PatchEncoder, describe: Describe, repeats: int = 5) -> float:
    """Processor seconds for one image of the encoder's own size."""
    side = encoder.spec.input_size
    image = np.zeros((side, side, 3), np.uint8)
    describe(image)
    start = time.process_time()
    for _ in range(repeats):
        describe(image)
    return (time.process_time() - start) / repeats


def pointing_cases(root: Path, frames: int, limit: int | None) -> Iterator[PointingCase]:
    """One case per query of the validation split whose track is known."""
    annotations = load_annotations(annotation_path(root, "val"))
    for clip in annotations.clips[:limit]:
        if clip.clip_uid is None:
            continue
        source = open_clip(root, clip)
        yield from (pointing_case(q, source, frames) for q in clip.queries if q.response)


def pointing_case(query: VisualQuery, source: FrameSource, frames: int) -> PointingCase:
    """The query seen in a window around its crop, and frames spread over its true track."""
    assert query.response is not None
    size, original = np.array(source.size_hw), np.array(query.original_size_hw)
    scale = np.tile((size / original)[::-1], 2).astype(np.float32)
    last = len(source) - 1
    window, box = query_window(query.crop_box_xyxy * scale, source.size_hw)
    x1, y1, x2, y2 = window
    image = np.ascontiguousarray(source[min(query.crop_frame, last)][y1:y2, x1:x2])
    track = query.response
    steps = np.linspace(0, len(track.boxes_xyxy) - 1, frames + 2).round().astype(int)[1:-1]
    shown = tuple(
        (source[min(track.start_frame + int(i), last)], track.boxes_xyxy[i] * scale) for i in steps
    )
    return PointingCase(str(query.key), image, box, shown)


def query_window(
    box_xyxy: Boxes, size_hw: tuple[int, int]
) -> tuple[tuple[int, int, int, int], Boxes]:
    """A window of the frame's shape, 1.6 times the box (at least a sixth of the frame).

    Returns:
        The window (x1, y1, x2, y2) in whole pixels of the frame, and the box in its pixels.
    """
    size_wh = np.array(size_hw[::-1], np.float32)
    wanted = expand_box(box_xyxy, 1.6)
    share = float(np.clip(((wanted[2:] - wanted[:2]) / size_wh).max(), 1 / 6, 1))
    half = size_wh * share / 2
    centre = np.clip((wanted[:2] + wanted[2:]) / 2, half, size_wh - half)
    low = np.floor(centre - half).astype(int)
    high = np.ceil(centre + half).astype(int)
    x1, y1 = (int(v) for v in np.maximum(low, 0))
    x2, y2 = (int(v) for v in np.minimum(high, size_wh.astype(int)))
    return (x1, y1, x2, y2), (box_xyxy - np.array([x1, y1, x1, y1])).astype(np.float32)


if __name__ == "__main__":
    sys.exit(main())
