"""Stage 1: the tokens of a clip, made once, the same for every query.

A clip's tokens lie in chunks of consecutive frames, one safetensors file each, written atomically:
memory stays flat, a killed run loses one chunk at most, and only as much of a clip is encoded as
its queries ask for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import field, replace
from itertools import islice
from pathlib import Path
from typing import Annotated, TypeVar

import numpy as np
import torch
from pydantic import Field

from ren_core.configuration import configuration
from ren_core.errors import ConfigError, DataError
from ren_core.images import Image
from ren_core.stages import NOT_CONTENT, open_stage
from vq2d.localize.chunks import TokenChunk, plain_arrays, track_arrays, write_chunk
from vq2d.localize.encode import ImageTokens, TokenEncoder
from vq2d.localize.join import FrameTokens, JoinConfig, join_tokens
from vq2d.types import FrameSource
from vq2d.video.crops import Crop, frame_crops

Item = TypeVar("Item")
Result = TypeVar("Result")

_Tiling = Annotated[int, Field(ge=1, le=16)]  # windows per side of the frame
_Frames = Annotated[int, Field(ge=1, le=1000)]  # memory and work lost by a kill grow with them


@configuration(group="tokens")
class TokenConfig:
    """What decides the content of the token cache, beside the encoder.

    Attributes:
        crop_factors: Tilings of the frame: 1 is the whole frame, 2 is 2 x 2 windows.
        frame_stride: Every how many annotation frames one is searched.
        chunk_frames: Annotation frames per file.
        batch_crops: Crops encoded at once (a multiple of the crops of a frame is best).
        join: Whether and how tokens are joined into region tracks, within a file.
    """

    crop_factors: Annotated[tuple[_Tiling, ...], Field(min_length=1, max_length=8)] = (1, 2)
    frame_stride: _Frames = 1
    chunk_frames: _Frames = 64
    batch_crops: Annotated[int, Field(ge=1, le=1000), NOT_CONTENT] = 20
    join: JoinConfig = field(default_factory=JoinConfig)

    def __post_init__(self) -> None:
        if self.chunk_frames % self.frame_stride:
            raise ConfigError(
                f"tokens.chunk_frames must be a multiple of tokens.frame_stride, got "
                f"{self.chunk_frames} and {self.frame_stride}"
            )


def open_tokens(
    cache: Path, encoder: TokenEncoder, config: TokenConfig, *, keep: str | None = None
) -> Path:
    """The stage directory of these tokens, named after model, configuration and code.

    Args:
        cache: Folder of the stage directories.
        encoder: Makes the tokens.
        config: Crops and stride.
        keep: Digest of older code whose tokens shall be used; see ``open_stage``.
    """
    ren = encoder.ren
    identity = {
        **token_settings(encoder, config),
        "engine": ren.compute.engine,
        "device": ren.compute.device.type,
        "dtype": str(ren.compute.dtype),
    }
    code = [__name__, "vq2d.video.frames"]
    return open_stage(cache, "tokens", identity, upstream=[ren.fingerprint], code=code, keep=keep)


def token_settings(encoder: TokenEncoder, config: TokenConfig) -> dict[str, object]:
    """What decides the content of tokens, beside weights, engine and code."""
    return {
        "tokens": config,
        "encode": encoder.config,
        "ren": replace(encoder.ren.config, head=""),  # its fingerprint knows the head
    }


def clip_tokens(
    frames: FrameSource,
    encoder: TokenEncoder,
    config: TokenConfig,
    *,
    directory: Path,
    num_frames: int,
    on_frames: Callable[[int], object] = lambda _: None,
) -> list[TokenChunk]:
    """Tokens of the first ``num_frames`` frames of a clip, making the chunks that are missing.

    Args:
        frames: The clip.
        encoder: Makes the tokens.
        config: Crops and stride.
        directory: Folder of this clip's chunks.
        num_frames: How far the clip is searched.
        on_frames: Called with the number of annotation frames after each step (progress).

    Returns:
        Chunks in temporal order; the last one may reach beyond ``num_frames``.

    Raises:
        DataError: If more than half of the frames cannot be decoded.
    """
    chunks = []
    end = min(num_frames, len(frames))
    for first in range(0, end, config.chunk_frames):
        last = min(first + config.chunk_frames, len(frames)) - 1
        path = directory / f"{first:06d}.safetensors"
        if not path.exists():
            searched = range(first, last + 1, config.frame_stride)
            found = frame_tokens(frames, searched, encoder, config)
            if config.join.enabled:
                arrays = track_arrays(join_tokens(found, max(frames.size_hw), config.join))
            else:
                arrays = plain_arrays(found)
            write_chunk(path, arrays, frames.held & set(range(first, last + 1)))
        on_frames(min(last + 1, end) - first)
        chunks.append(TokenChunk(path, first, last))
    lost, read = sum(len(c.held) for c in chunks), len(range(0, end, config.frame_stride))
    if 2 * lost > read:
        raise DataError(
            f"{lost} of {read} frames cannot be decoded; download or re-encode the video"
        )
    return chunks


def read_ahead(
    read: Callable[[Item], Result], items: Sequence[Item], reader: Executor
) -> Iterator[Result]:
    """What ``read`` gives for each item, in order, while the next one is already being read.

    Args:
        read: Called for one item at a time; what it raises is raised here.
        items: What is read.
        reader: Runs it; its owner closes it, and so waits for the item that is being read.
    """
    if not items:
        return
    pending = reader.submit(read, items[0])
    for item in items[1:]:
        result = pending.result()
        pending = reader.submit(read, item)
        yield result
    yield pending.result()


def frame_tokens(
    frames: FrameSource, indices: Sequence[int], encoder: TokenEncoder, config: TokenConfig
) -> Iterator[FrameTokens]:
    """Tokens of all crops of some frames, encoded batch by batch while the next one is decoded."""
    crops = frame_crops(frames.size_hw, config.crop_factors)
    size = max(1, config.batch_crops // len(crops))
    batches = [indices[start : start + size] for start in range(0, len(indices), size)]

    def cut(batch: Sequence[int]) -> list[Image]:
        return [crop.cut(picture) for picture in [frames[i] for i in batch] for crop in crops]

    with ThreadPoolExecutor(1) as reader:
        for batch, windows in zip(batches, read_ahead(cut, batches, reader), strict=True):
            found = iter(encoder.regions(windows))
            for frame in batch:
                yield _of_frame(frame, crops, list(islice(found, len(crops))))


def _of_frame(frame: int, crops: Sequence[Crop], found: Sequence[ImageTokens]) -> FrameTokens:
    """The tokens of a frame from those of its crops."""
    points = [c.points_to_frame(t.points_xy) for c, t in zip(crops, found, strict=True)]
    vectors = torch.cat([tokens.vectors for tokens in found])
    return FrameTokens(frame, vectors.float().cpu().numpy(), np.concatenate(points))
