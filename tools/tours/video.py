"""Write and read the clips of the sample with PyAV."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]


def write_video(
    path: Path, pictures: Iterable[Picture], size_hw: tuple[int, int], *, fps: int, crf: int
) -> None:
    """Write pictures (H, W, 3) as H.264; one thread, so that equal input gives equal bytes."""
    draft = path.with_name(f".{path.name}")
    with av.open(str(draft), "w", format="mp4") as container:
        stream = container.add_stream(
            "libx264", rate=fps, options={"crf": str(crf), "preset": "slow", "threads": "1"}
        )
        stream.height, stream.width = size_hw
        stream.pix_fmt = "yuv420p"
        stream.codec_context.gop_size = 10 * fps
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    draft.replace(path)


def read_video(path: Path, *, every: int = 1) -> list[Picture]:
    """Every ``every``-th picture (H, W, 3) of a file, in order."""
    with av.open(str(path)) as container:
        frames = container.decode(video=0)
        return [f.to_ndarray(format="rgb24") for k, f in enumerate(frames) if k % every == 0]
