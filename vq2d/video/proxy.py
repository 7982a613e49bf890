"""What browsers can play, and a copy for them of what they cannot."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av

from ren_core.images import Image
from vq2d.video.timeline import Timeline

CODECS = {"h264", "vp8", "vp9", "av1"}
PIXEL_FORMATS = {"yuv420p", "yuvj420p"}
LONGER_SIDE = 1280
"""Longer side, in pixels, of a copy."""
OPTIONS = {"deadline": "realtime", "cpu-used": "8", "crf": "34", "b": "0", "g": "25"}


def browser_type(timeline: Timeline) -> str | None:
    """The media type of a file that browsers play as it is; None: they need a copy."""
    turned = timeline.orientation
    is_mirrored = (turned.transpose + turned.mirror_x + turned.mirror_y) % 2 == 1
    if timeline.codec not in CODECS or timeline.pixel_format not in PIXEL_FORMATS or is_mirrored:
        return None
    with timeline.path.open("rb") as file:
        start = file.read(64)
    if start[4:8] == b"ftyp":  # MP4 and QuickTime
        return "video/mp4"
    return "video/webm" if start[:4] == b"\x1aE\xdf\xa3" and b"webm" in start else None


def write_webm(path: Path, images: Iterable[Image], *, fps: float) -> None:
    """Encode RGB images one by one as VP9 in WebM, fast and small.

    Args:
        path: Target; written in place, so give a temporary name.
        images: (H, W, 3) of one size; larger ones are shrunk.
        fps: Constant rate.
    """
    with av.open(str(path), "w", format="webm") as container:
        rate = Fraction(fps).limit_denominator(1001)
        stream = container.add_stream("libvpx-vp9", rate=rate, options=OPTIONS)
        stream.pix_fmt = "yuv420p"
        for count, image in enumerate(images):
            if count == 0:
                stream.height, stream.width = _even_size(image)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            container.mux(stream.encode(frame.reformat(stream.width, stream.height, "yuv420p")))
        container.mux(stream.encode())


def _even_size(image: Image) -> tuple[int, int]:
    """Height and width of the copy."""
    factor = min(1.0, LONGER_SIDE / max(image.shape))
    height, width = (max(2, 2 * round(side * factor / 2)) for side in image.shape[:2])
    return height, width
