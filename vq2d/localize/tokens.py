"""Stage 1: the tokens of a clip, made once, the same for every query.

A clip's tokens lie in chunks of consecutive frames, one safetensors file each, written atomically:
memory stays flat, a killed run loses one chunk at most, and only as much of a clip is encoded as
its queries ask for.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from safetensors import safe_open
from safetensors.numpy import save_file

from ren_core.configuration import configuration
from ren_core.errors import ConfigError, DataError
from ren_core.stages import NOT_CONTENT, atomic_path, open_stage
from vq2d.localize.encode import TokenEncoder
from vq2d.types import FrameSource
from vq2d.video.crops import frame_crops

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
    """

    crop_factors: Annotated[tuple[_Tiling, ...], Field(min_length=1, max_length=8)] = (1, 2)
    frame_stride: _Frames = 1
    chunk_frames: _Frames = 64
    batch_crops: Annotated[int, Field(ge=1, le=1000), NOT_CONTENT] = 20

    def __post_init__(self) -> None:
        if self.chunk_frames % self.frame_stride:
            raise ConfigError(
                f"tokens.chunk_frames must be a multiple of tokens.frame_stride, got "
                f"{self.chunk_frames} and {self.frame_stride}"
            )


@dataclass(frozen=True)
class TokenChunk:
    """Tokens of consecutive frames, read from disk when asked for.

    Attributes:
        path: The file.
        first_frame: First clip frame of the chunk.
        last_frame: Last clip frame of the chunk.
    """

    path: Path
    first_frame: int
    last_frame: int

    def vectors(self) -> NDArray[np.float16]:
        """(M, D) float16 unit vectors."""
        return self._tensor("vectors")

    @cached_property
    def frame_idx(self) -> NDArray[np.int32]:
        """(M,) clip frame of each token, ascending."""
        return self._tensor("frame_idx")

    @cached_property
    def points_xy(self) -> NDArray[np.float32]:
        """(M, 2) frame pixels."""
        return self._tensor("points_xy")

    @cached_property
    def held(self) -> list[int]:
        """Clip frames that cannot be decoded, so that the last good one stands in for them."""
        with safe_open(self.path, framework="np") as file:
            frames: list[int] = json.loads(file.metadata()["held"])
        return frames

    def _tensor(self, name: str) -> NDArray:  # type: ignore[type-arg]
        with safe_open(self.path, framework="np") as file:
            return file.get_tensor(name)


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
        "tokens": config,
        "encode": encoder.config,
        "ren": replace(ren.config, head=""),  # the fingerprint knows the head, wherever it lies
        "engine": ren.compute.engine,
        "device": ren.compute.device.type,
        "dtype": str(ren.compute.dtype),
    }
    code = [__name__, "vq2d.video.frames"]
    return open_stage(cache, "tokens", identity, upstream=[ren.fingerprint], code=code, keep=keep)


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
            tensors = _encode_frames(
                frames, range(first, last + 1, config.frame_stride), encoder, config
            )
            held = sorted(frames.held & set(range(first, last + 1)))
            with atomic_path(path) as tmp:
                save_file(tensors, tmp, metadata={"held": json.dumps(held)})
        on_frames(min(last + 1, end) - first)
        chunks.append(TokenChunk(path, first, last))
    lost, read = sum(len(c.held) for c in chunks), len(range(0, end, config.frame_stride))
    if 2 * lost > read:
        raise DataError(
            f"{lost} of {read} frames cannot be decoded; download or re-encode the video"
        )
    return chunks


def _encode_frames(
    frames: FrameSource, indices: Sequence[int], encoder: TokenEncoder, config: TokenConfig
) -> dict[str, NDArray]:  # type: ignore[type-arg]
    """Tokens of all crops of some frames, batch by batch."""
    crops = frame_crops(frames.size_hw, config.crop_factors)
    vectors, points, owners = [], [], []
    for batch in _batches(indices, max(1, config.batch_crops // len(crops))):
        windows = [(i, crop) for i in batch for crop in crops]
        pictures = {i: frames[i] for i in batch}
        found = encoder.regions([crop.cut(pictures[i]) for i, crop in windows])
        for (i, crop), tokens in zip(windows, found, strict=True):
            vectors.append(tokens.vectors.to("cpu", torch.float16).numpy())
            points.append(crop.points_to_frame(tokens.points_xy))
            owners.append(np.full(len(tokens.points_xy), i, np.int32))
    arrays = {"vectors": vectors, "points_xy": points, "frame_idx": owners}
    # safetensors writes arrays of another memory order as they lie, and so reads back nonsense
    return {name: np.ascontiguousarray(np.concatenate(a)) for name, a in arrays.items()}


def _batches(indices: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    for start in range(0, len(indices), size):
        yield indices[start : start + size]
