"""A small saliency network (U²-Net-P): which pixels of a crop are its main object."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ren_core import weights
from ren_core.encoders.base import IMAGENET_MEAN, IMAGENET_STD
from ren_core.engine.choice import EngineName
from ren_core.engine.onnx_file import OnnxNetwork
from ren_core.images import Image

SIDE = 320  # px: the network's own input; others work too, being faster and coarser
BATCH = 8
"""Crops at once: more are no faster on a processor, and take more memory."""

Floats = NDArray[np.float32]


class Saliency:
    """Saliency maps of RGB crops.

    Attributes:
        network: Normalised images (B, 3, side, side) to raw maps (B, 1, side, side).
    """

    def __init__(self, model: Path | None = None, *, engine: EngineName = "torch") -> None:
        """Load the network.

        Args:
            model: The ONNX file; None: the fetched ``u2netp``.
            engine: ``"torch"`` stands for onnxruntime; float32 either way.

        Raises:
            DataError: If the file was not fetched.
        """
        self.network = OnnxNetwork(model or weights.path("u2netp"), engine)

    def __call__(self, images: Sequence[Image], side: int = SIDE) -> list[Floats]:
        """Saliency (H, W) float32 in 0..1 of each image (H, W, 3), stretched to that range.

        Args:
            images: RGB crops of any sizes.
            side: Pixels of the square that the network sees.
        """
        maps: list[Floats] = []
        for start in range(0, len(images), BATCH):
            some = images[start : start + BATCH]
            found = self.network(np.stack([_prepared(image, side) for image in some]))
            maps += [_stretched(raw[0], image) for raw, image in zip(found, some, strict=True)]
        return maps


def _prepared(image: Image, side: int) -> Floats:
    """(3, side, side) normalised."""
    small = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA).astype(np.float32)
    small /= max(float(small.max()), 1.0)
    normal = (small - np.array(IMAGENET_MEAN, np.float32)) / np.array(IMAGENET_STD, np.float32)
    return normal.transpose(2, 0, 1)


def _stretched(raw: Floats, image: Image) -> Floats:
    """A raw map (side, side) over the whole range, at the size of its image."""
    low, high = float(raw.min()), float(raw.max())
    scaled = (raw - low) / max(high - low, 1e-6)
    H, W = image.shape[:2]
    resized: Floats = cv2.resize(scaled, (W, H), interpolation=cv2.INTER_LINEAR)
    return resized.clip(0, 1)
