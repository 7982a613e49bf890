"""H.264 files that every browser plays."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from ren_core.errors import ShapeError
from ren_core.images import Image
from ren_core.stages import atomic_path

BT601, LIMITED_RANGE = 6, 1  # FFmpeg's numbers; what the conversion from RGB produces
OPTIONS = {"crf": "26", "preset": "veryfast", "g": "25"}


def write_h264(path: Path, images: Iterable[Image], *, fps: float) -> int:
    """Encode RGB images one by one into an MP4 with its index in front.

    Args:
        path: Target; written whole or not at all.
        images: (H, W, 3) of one size, both sides even.
        fps: Constant rate.

    Returns:
        Number of images written.

    Raises:
        ShapeError: If a side is odd or the size changes.
    """
    count = 0
    rate = Fraction(fps).limit_denominator(1001)
    flags = {"movflags": "+faststart"}
    with (
        atomic_path(path) as tmp,
        av.open(str(tmp), "w", format="mp4", options=flags) as container,
    ):
        stream = container.add_stream("libx264", rate=rate, options=OPTIONS)
        stream.pix_fmt = "yuv420p"
        stream.codec_context.colorspace = BT601
        stream.codec_context.color_range = LIMITED_RANGE
        for count, image in enumerate(images, 1):
            if count == 1:
                stream.height, stream.width = image.shape[:2]
            if (stream.height, stream.width) != image.shape[:2] or any(np.mod(image.shape[:2], 2)):
                raise ShapeError(
                    f"image {count} for {path.name} has size {image.shape[:2]}; all must have the "
                    "first one's even height and width, so pad or resize them"
                )
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return count
