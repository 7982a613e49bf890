"""Small videos whose frames carry their own number, made with PyAV."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from ren_core.images import Image

BITS = 16
TICKS = 90_000  # per second, of videos with explicit times


def numbered_frame(number: int, size_hw: tuple[int, int] = (64, 128)) -> Image:
    """An image whose top quarter shows ``number`` as 16 black or white blocks, lowest bit first."""
    H, W = size_hw
    image = np.full((H, W, 3), 128, np.uint8)
    image[H // 2 :, number * 4 % W :] = (200, 60, 30)
    for bit in range(BITS):
        image[: H // 4, bit * W // BITS : (bit + 1) * W // BITS] = 255 * ((number >> bit) & 1)
    return image


def frame_number(image: Image) -> int:
    """The number that an upright frame carries."""
    H, W = image.shape[:2]
    columns = ((np.arange(BITS) + 0.5) * W / BITS).astype(int)
    bright = image[H // 8, columns].mean(axis=-1) > 127
    return int((bright << np.arange(BITS)).sum())


def write_video(
    path: Path,
    frames: Iterable[Image],
    fps: float | Fraction = 5,
    *,
    times: Sequence[float] | None = None,
    codec: str = "libx264",
    keyint: int = 25,
    rotation: int = 0,
) -> Path:
    """Encode RGB frames, with B-frames where the codec has them; return ``path``.

    Args:
        path: Target; the suffix decides the container.
        frames: (H, W, 3) RGB images of one even size.
        fps: Constant rate, unless ``times`` is given.
        times: Presentation time of every frame in seconds.
        codec: Encoder name.
        keyint: Frames between keyframes.
        rotation: Display rotation written to the header, degrees anticlockwise.
    """
    rate = Fraction(fps).limit_denominator(1001)
    tick = 1 / rate if times is None else Fraction(1, TICKS)
    options = {"g": str(keyint), "crf": "18"}
    if codec == "libx264":
        options |= {"bf": "3", "preset": "fast", "sc_threshold": "0"}
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, options=options)
        stream.codec_context.time_base = tick
        for number, image in enumerate(frames):
            if number == 0:
                stream.height, stream.width = image.shape[:2]
                stream.pix_fmt = "yuv420p"
                if rotation:
                    stream.set_display_rotation(rotation)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts = number if times is None else round(times[number] * TICKS)
            frame.time_base = tick
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def write_numbered(path: Path, count: int, fps: float | Fraction = 5, **options: object) -> Path:
    """A video of ``count`` numbered frames; options as for ``write_video``."""
    return write_video(path, map(numbered_frame, range(count)), fps, **options)  # type: ignore[arg-type]
