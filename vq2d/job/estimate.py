"""What stage 1 takes, from a configuration and the lengths of clips: crops, bytes, seconds."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ren_core.encoders import catalog
from ren_core.errors import ConfigError
from ren_core.presets import PRESETS as REN_PRESETS
from vq2d.localize import colour
from vq2d.localize.areas import MASK_SCALES
from vq2d.localize.encode import TokenEncoder
from vq2d.localize.presets import PRESETS, VQ2DConfig
from vq2d.localize.tokens import TokenConfig
from vq2d.video.crops import frame_crops

PLACE_BYTES = 12  # a token's point (two float32) and frame (int32)
SHORT_PLACE_BYTES = 8  # the same with the point in whole pixels
TIMED_ROUNDS = 2


@dataclass(frozen=True, slots=True)
class SearchedClip:
    """How much of a clip is encoded.

    Attributes:
        num_frames: Frames of the file at the annotation rate.
        search_end: One past the last frame that any of its queries searches.
    """

    num_frames: int
    search_end: int


def encoded_frames(clip: SearchedClip, config: TokenConfig) -> int:
    """Frames of a clip that are encoded: every ``frame_stride``-th, the last chunk to its end.

    >>> encoded_frames(SearchedClip(300, 70), TokenConfig(frame_stride=2, chunk_frames=64))
    64
    """
    end = min(clip.search_end, clip.num_frames)
    firsts = range(0, end, config.chunk_frames)
    lasts = [min(first + config.chunk_frames, clip.num_frames) for first in firsts]
    return sum(
        len(range(first, last, config.frame_stride))
        for first, last in zip(firsts, lasts, strict=True)
    )


def crops_per_frame(config: TokenConfig) -> int:
    """Windows of every encoded frame."""
    return sum(factor * factor for factor in config.crop_factors)


def most_tokens_per_crop(config: VQ2DConfig) -> int:
    """One per prompt of the grid, or as many of each coarseness of masks; often there are fewer."""
    coarsenesses = len(MASK_SCALES) if config.encode.space == "mask" else 1
    return coarsenesses * config.grid_size**2


def token_bytes(config: VQ2DConfig) -> int | None:
    """Bytes of one token on disk; None for a model from a file, whose width is not known here."""
    if config.ren not in REN_PRESETS:
        return None
    directions = config.tokens.directions
    if directions is not None and _directions_ship(config):
        return directions // 2 + SHORT_PLACE_BYTES
    name = REN_PRESETS[config.ren].encoder
    entries = catalog.TIMM | catalog.OPENCLIP
    dim = entries[name].spec.dim if name in entries else catalog.EMBEDDED.dim
    encode = config.encode
    width = dim * len(encode.space.split("+")) + (colour.DIM if encode.colour else 0)
    return 2 * width + PLACE_BYTES


def _directions_ship(config: VQ2DConfig) -> bool:
    """Whether directions are known for its model: for those of the presets that keep some."""
    return any(
        own.tokens.directions is not None
        and (own.ren, own.input_size, own.encode) == (config.ren, config.input_size, config.encode)
        for own in PRESETS.values()
    )


def seconds_per_crop(encoder: TokenEncoder, config: TokenConfig, size_hw: tuple[int, int]) -> float:
    """Time of encoding one crop of a frame of that size, in batches as a run makes them.

    Reading the frames from their file comes on top.
    """
    crops = frame_crops(size_hw, config.crop_factors)
    frames = max(1, config.batch_crops // len(crops))
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (frames, *size_hw, 3), np.uint8)
    windows = [crop.cut(picture) for picture in pictures for crop in crops]
    _timed(encoder, windows)  # the first call also allocates
    seconds = [_timed(encoder, windows) for _ in range(TIMED_ROUNDS)]
    return min(seconds) / len(windows)


def _timed(encoder: TokenEncoder, windows: Sequence[np.ndarray]) -> float:
    started = time.perf_counter()
    for tokens in encoder.start(encoder.load(windows))():
        tokens.vectors.cpu()  # waits for a GPU
    return time.perf_counter() - started


def seconds_by_check(path: Path, config: VQ2DConfig) -> tuple[float, str]:
    """Time of one crop as ``tools/gpu_check.sh --out`` has measured it, reading included; on what.

    Raises:
        ConfigError: If the file holds no such figures, or those of another encoder.
    """
    try:
        figures = json.loads(path.read_text())
        seconds, encoder = 1 / figures["crops_per_s"], figures["sizes"]["encoder"]
        source = f"{path}: {figures['machine']}, {figures['networks']}"
    except (OSError, ValueError, TypeError, KeyError, ZeroDivisionError) as err:
        raise ConfigError(
            f"{path} holds no figures of a GPU ({err}); tools/gpu_check.sh --out FILE writes them"
        ) from err
    own = REN_PRESETS[config.ren].encoder if config.ren in REN_PRESETS else config.ren
    if encoder != own:
        raise ConfigError(f"{path} was measured with {encoder}, and this preset has {own}")
    return seconds, source
