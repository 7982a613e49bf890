"""Whole things in BSDS500's photographs: human segments that a saliency network takes for a thing.

    python -m tools.whole_things --bsds DATA/bsds500 --out DIR

People drew pieces (a head, a leg); the network (U²-Net-P) sees the whole thing with a rough border.
Of every annotator's segments those that are mostly salient are joined, and the annotator is taken
whose things agree best with what the network sees. Pictures are linked into ``DIR/images``, masks
written to ``DIR/labels``, for ``vq2d train-masks --things DIR``.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from eval.masks.trials import mask_iou
from ren_core.command import exit_code
from ren_core.geometry import Mask
from ren_core.images import read_image
from ren_core.progress import tqdm
from ren_core.training.sources import bsds_source, read_labels
from vq2d.masking.outline import SaliencyMaps
from vq2d.masking.saliency import SIDE, Saliency

logger = logging.getLogger(__name__)

SALIENT = 0.5
AGREEMENT = 0.8
"""Least IoU of the joined segments with the salient pixels."""
LEAST, MOST = 0.01, 0.6
"""Share of the picture that is things."""


def main(argv: Sequence[str] | None = None) -> int:
    """Write the folder; 0 done, 1 failed, 2 usage."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bsds", type=Path, required=True, help="images/, segmentations/")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    return exit_code(lambda: write_things(args.bsds, args.out, Saliency()))


def write_things(bsds: Path, out: Path, saliency: SaliencyMaps) -> None:
    """Link the pictures that show things, and write their masks."""
    source, written = bsds_source(bsds), 0
    for name in ("images", "labels"):
        (out / name).mkdir(parents=True, exist_ok=True)
    for entry in tqdm(source.entries, disable=None):
        salient = saliency([read_image(entry.image)], SIDE)[0]
        things = joined([read_labels(file) for file in entry.labels], salient)
        if things is None:
            continue
        link = out / "images" / entry.image.name
        link.unlink(missing_ok=True)
        link.symlink_to(entry.image.resolve())
        Image.fromarray(things).save(out / "labels" / f"{entry.image.stem}.png")
        written += 1
    logger.info("things of %d of %d pictures: %s", written, len(source.entries), out)


def joined(
    segmentations: Sequence[NDArray[np.integer]], saliency: NDArray[np.float32]
) -> Mask | None:
    """The pixels (H, W) of the salient segments of one annotator; None if none fits the saliency.

    Args:
        segmentations: Label maps (H, W), one of each annotator.
        saliency: (H, W), 0..1.
    """
    salient = saliency > SALIENT
    best, agreement = None, AGREEMENT
    for labels in segmentations:
        sizes = np.bincount(labels.ravel())
        means = np.bincount(labels.ravel(), saliency.ravel()) / np.maximum(sizes, 1)
        things = (means > SALIENT)[labels]
        iou = mask_iou(things, salient)
        if iou >= agreement:
            best, agreement = things, iou
    return best if best is not None and LEAST < best.mean() < MOST else None


if __name__ == "__main__":
    sys.exit(main())
