"""Stage 1: the tokens of a clip, made once, the same for every query.

A clip's tokens lie in chunks of consecutive frames, one safetensors file each, written atomically:
memory stays flat, a killed run loses one chunk at most, and only as much of a clip is encoded as
its queries ask for.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import field, replace
from itertools import islice
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from pydantic import Field

from ren_core.configuration import configuration
from ren_core.errors import ConfigError, DataError
from ren_core.images import Image
from ren_core.stages import NOT_CONTENT, open_stage
from vq2d.localize.chunks import (
    Arrays,
    TokenChunk,
    compact_arrays,
    plain_arrays,
    track_arrays,
    write_chunk,
)
from vq2d.localize.encode import ImageTokens, Loaded, TokenEncoder
from vq2d.localize.join import FrameTokens, JoinConfig, join_tokens
from vq2d.localize.pipeline import read_ahead, take_behind
from vq2d.localize.projection import Projection, shipped_projection
from vq2d.types import FrameSource
from vq2d.video.crops import Crop, frame_crops

logger = logging.getLogger(__name__)

AHEAD_OF_GPU = 4
"""Batches that are decoded and loaded, or being so, while a GPU encodes another one."""

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
        directions: Tokens that are not joined are kept in so many directions of their space, the
            ones with most energy, half a byte for each; None, and for models that none were fitted
            for: all numbers of a token, two bytes for each.
        join: Whether and how tokens are joined into region tracks, within a file.
    """

    crop_factors: Annotated[tuple[_Tiling, ...], Field(min_length=1, max_length=8)] = (1, 2)
    frame_stride: _Frames = 1
    chunk_frames: _Frames = 64
    batch_crops: Annotated[int, Field(ge=1, le=1000), NOT_CONTENT] = 20
    directions: Annotated[int, Field(ge=2, le=10_000, multiple_of=2)] | None = None
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
    reduce = reduction(encoder, config)
    if reduce is None and config.directions is not None and not config.join.enabled:
        logger.warning(
            "no directions were fitted for this model, so its tokens are kept whole; "
            "pipelines/fit_projection.py --tokens makes some"
        )
    identity = {
        **token_settings(encoder, config),
        "directions": None if reduce is None else reduce.fingerprint,
        "engine": ren.compute.engine,
        "device": ren.compute.device.type,
        "dtype": str(ren.compute.dtype),
        "compiled": ren.compute.compiled,
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


def reduction(encoder: TokenEncoder, config: TokenConfig) -> Projection | None:
    """To what tokens are reduced before they are kept; None: they are kept whole, or joined."""
    if config.directions is None or config.join.enabled:
        return None
    fitted = shipped_projection(encoder.space)
    return None if fitted is None else fitted.first(config.directions)


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
    end = min(num_frames, len(frames))
    reduce = reduction(encoder, config)
    chunks = [
        TokenChunk(
            directory / f"{first:06d}.safetensors",
            first,
            min(first + config.chunk_frames, len(frames)) - 1,
            reduce,
        )
        for first in range(0, end, config.chunk_frames)
    ]
    for chunk in _made(frames, chunks, encoder, config):
        on_frames(min(chunk.last_frame + 1, end) - chunk.first_frame)
    lost, read = sum(len(c.held) for c in chunks), len(range(0, end, config.frame_stride))
    if 2 * lost > read:
        raise DataError(
            f"{lost} of {read} frames cannot be decoded; download or re-encode the video"
        )
    return chunks


def _made(
    frames: FrameSource,
    chunks: Sequence[TokenChunk],
    encoder: TokenEncoder,
    config: TokenConfig,
) -> Iterator[TokenChunk]:
    """Each chunk once it is there; the last one that was made may still be being written."""
    wanted = {
        chunk: range(chunk.first_frame, chunk.last_frame + 1, config.frame_stride)
        for chunk in chunks
        if not chunk.path.exists()
    }
    crops = frame_crops(frames.size_hw, config.crop_factors)
    held_by: dict[int, frozenset[int]] = {}

    def decode(batch: Sequence[int]) -> list[Image]:
        pictures = [frames[i] for i in batch]
        held_by[batch[-1]] = frozenset(frames.held)  # before it reads on
        return pictures

    made = frame_tokens(decode, list(wanted.values()), crops, encoder, config.batch_crops)
    with ThreadPoolExecutor(1) as writer, closing(made) as found:
        written: Future[None] | None = None
        for chunk in chunks:
            if chunk in wanted:
                own = wanted[chunk]
                arrays = _arrays(islice(found, len(own)), chunk, frames, config)
                held = held_by[own[-1]] & set(range(chunk.first_frame, chunk.last_frame + 1))
                if written is not None:
                    written.result()
                written = writer.submit(write_chunk, chunk.path, arrays, held)
            yield chunk
        if written is not None:
            written.result()


def _arrays(
    found: Iterable[FrameTokens], chunk: TokenChunk, frames: FrameSource, config: TokenConfig
) -> Arrays:
    """What is kept of the tokens of consecutive frames."""
    if config.join.enabled:
        return track_arrays(join_tokens(found, max(frames.size_hw), config.join))
    return plain_arrays(found) if chunk.reduce is None else compact_arrays(found, chunk.reduce)


def frame_tokens(
    decode: Callable[[Sequence[int]], list[Image]],
    stretches: Sequence[Sequence[int]],
    crops: Sequence[Crop],
    encoder: TokenEncoder,
    batch_crops: int,
) -> Generator[FrameTokens, None, None]:
    """Tokens of all crops of the frames of some stretches, encoded batch by batch.

    While one batch is encoded the next ones are decoded by one thread, in order, and loaded by
    others; where a GPU encodes, the results of a batch are taken while it works on the next one.

    Args:
        decode: Gives some frames; called by one thread, in order.
        stretches: Frame numbers, ascending; no batch holds frames of two of them.
        crops: Windows of every frame.
        encoder: Makes the tokens.
        batch_crops: Windows encoded at once, nearly.
    """
    size = max(1, batch_crops // len(crops))
    batches = [own[i : i + size] for own in stretches for i in range(0, len(own), size)]
    ahead, behind = (AHEAD_OF_GPU, 1) if encoder.streams else (1, 0)
    decoder, loader = ThreadPoolExecutor(1), ThreadPoolExecutor(ahead)

    def read(batch: Sequence[int]) -> Future[Loaded]:
        decoded = decoder.submit(decode, batch)
        return loader.submit(
            lambda: encoder.load([c.cut(picture) for picture in decoded.result() for c in crops])
        )

    try:
        started = map(encoder.start, read_ahead(read, batches, ahead))
        for batch, found in zip(batches, take_behind(started, behind), strict=True):
            own = iter(found)
            for frame in batch:
                yield _of_frame(frame, crops, list(islice(own, len(crops))))
    finally:
        decoder.shutdown(cancel_futures=True)
        loader.shutdown()


def _of_frame(frame: int, crops: Sequence[Crop], found: Sequence[ImageTokens]) -> FrameTokens:
    """The tokens of a frame from those of its crops."""
    points = [c.points_to_frame(t.points_xy) for c, t in zip(crops, found, strict=True)]
    vectors = torch.cat([tokens.vectors for tokens in found])
    return FrameTokens(frame, vectors.float().cpu().numpy(), np.concatenate(points))
