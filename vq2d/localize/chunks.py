"""What is kept of a stretch of a clip: sights and what they look like, one safetensors file.

A sight is a token of a frame or, where tokens were joined, a region track in one of its frames.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save_file
from torch import Tensor

from ren_core.stages import atomic_path
from vq2d.localize.join import FrameTokens, RegionTracks
from vq2d.localize.projection import Projection

Arrays = Mapping[str, NDArray]  # type: ignore[type-arg]

PLACES = {"frame_idx", "points_xy"}
LARGEST = 127  # of a signed byte
STEPS = 15  # of half a byte


@dataclass(frozen=True, slots=True)
class Similarities:
    """How alike a query and the sights of a chunk are.

    Attributes:
        own: (M,) cosine of each sight to the nearest query vector; of a region track's sight as far
            as the track remembers it.
        track: (M,) cosine of the best vector of the sight's track; ``own`` where nothing is joined.
    """

    own: NDArray[np.float32]
    track: NDArray[np.float32]


class Chunk(Protocol):
    """What consecutive frames of a clip show, wherever it is kept."""

    @property
    def first_frame(self) -> int:
        """First clip frame."""
        ...

    @property
    def last_frame(self) -> int:
        """Last clip frame."""
        ...

    @property
    def frame_idx(self) -> NDArray[np.int32]:
        """(M,) clip frame of each sight, ascending."""
        ...

    @property
    def points_xy(self) -> NDArray[np.float32]:
        """(M, 2) frame pixels."""
        ...

    @property
    def held(self) -> Sequence[int]:
        """Clip frames that cannot be decoded, so that the last good one stands in for them."""
        ...

    def similarities(self, query_vectors: Tensor) -> Similarities:
        """Of all sights to query vectors (Q, D) of unit length."""
        ...


@dataclass(frozen=True)
class TokenChunk:
    """What consecutive frames show, read from disk when asked for.

    Attributes:
        path: The file.
        first_frame: First clip frame of the chunk.
        last_frame: Last clip frame of the chunk.
        reduce: Of a chunk that was written by ``compact_arrays``: with what.
    """

    path: Path
    first_frame: int
    last_frame: int
    reduce: Projection | None = field(default=None, compare=False)

    def similarities(self, query_vectors: Tensor) -> Similarities:
        """Of all sights to query vectors (Q, D) of unit length."""
        with safe_open(self.path, framework="pt") as file:
            names = set(file.keys()) - PLACES
            found = {name: file.get_tensor(name) for name in names}
        if self.reduce is not None:
            own = _numbers(compact_similarities(found, query_vectors, self.reduce).amax(dim=1))
            return Similarities(own, own)
        kept = found["vectors"].to(query_vectors) @ query_vectors.T  # (V, Q)
        if "track" in found:
            kept = kept.cpu().float() * found["scale"][:, None]
            return similarities_of_sights(kept, found)
        own = _numbers(kept.amax(dim=1))
        return Similarities(own, own)

    @cached_property
    def frame_idx(self) -> NDArray[np.int32]:
        """(M,) clip frame of each sight, ascending."""
        return self._array("frame_idx")

    @cached_property
    def points_xy(self) -> NDArray[np.float32]:
        """(M, 2) frame pixels."""
        return middles_of(self._array("points_xy"))

    @cached_property
    def held(self) -> list[int]:
        """Clip frames that cannot be decoded, so that the last good one stands in for them."""
        with safe_open(self.path, framework="np") as file:
            frames: list[int] = json.loads(file.metadata()["held"])
        return frames

    def _array(self, name: str) -> NDArray:  # type: ignore[type-arg]
        with safe_open(self.path, framework="np") as file:
            return file.get_tensor(name)


def write_chunk(path: Path, arrays: Arrays, held: Iterable[int]) -> None:
    """Keep what ``plain_arrays``, ``compact_arrays`` or ``track_arrays`` gives.

    Args:
        path: The file, written atomically.
        arrays: What is seen.
        held: Clip frames that cannot be decoded.
    """
    # safetensors writes arrays of another memory order as they lie, and so reads back nonsense
    tensors = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    with atomic_path(path) as tmp:
        save_file(tensors, tmp, metadata={"held": json.dumps(sorted(held))})


def plain_arrays(tokens: Iterable[FrameTokens]) -> Arrays:
    """What is kept of the tokens of some frames that are not joined: vectors of 16 bits."""
    return _stacked((t.vectors.astype(np.float16), t.points_xy, t.frame) for t in tokens)


def compact_arrays(tokens: Iterable[FrameTokens], reduce: Projection) -> Arrays:
    """What is kept of the tokens of some frames in fewer dimensions: half a byte for each.

    Args:
        tokens: Of each searched frame, not joined.
        reduce: To an even number of dimensions.
    """
    kept = _stacked((reduce(t.vectors), t.points_xy.astype(np.uint16), t.frame) for t in tokens)
    vectors = kept["vectors"]
    low = vectors.min(axis=0)
    step = np.maximum((vectors.max(axis=0) - low) / STEPS, 1e-9)
    codes = np.round((vectors - low) / step).astype(np.uint8)
    return {**kept, "vectors": codes[:, ::2] | codes[:, 1::2] << 4, "low": low, "step": step}


def compact_similarities(
    found: Mapping[str, Tensor], query_vectors: Tensor, reduce: Projection
) -> Tensor:
    """Cosines (V, Q), nearly, of query vectors (Q, D) and what ``compact_arrays`` gave."""
    asked = torch.from_numpy(reduce(query_vectors.float().cpu().numpy())).to(query_vectors.device)
    codes, low, step = (found[name].to(asked.device) for name in ("vectors", "low", "step"))
    steps = (asked * step).T
    similarities: Tensor = (codes & STEPS).float() @ steps[::2] + (codes >> 4).float() @ steps[1::2]
    return similarities + asked @ low


def track_arrays(tracks: RegionTracks) -> Arrays:
    """What is kept of region tracks: vectors of 8 bits, a scale each, the pixel of each place."""
    scale = np.abs(tracks.vectors).max(axis=1) / LARGEST
    return {
        "vectors": np.round(tracks.vectors / scale[:, None]).astype(np.int8),
        "scale": scale.astype(np.float32),
        "first": np.unique(tracks.owner, return_index=True)[1].astype(np.int32),
        "frame_idx": tracks.frame_idx,
        "track": tracks.track,
        "points_xy": tracks.points_xy.astype(np.uint16),
        "mix": tracks.mix.astype(np.float16),
    }


def track_vectors(kept: Arrays) -> NDArray[np.float32]:
    """Vectors (V, D) of unit length, nearly, from what ``track_arrays`` gave."""
    vectors: NDArray[np.float32] = kept["vectors"].astype(np.float32) * kept["scale"][:, None]
    return vectors


def middles_of(points_xy: NDArray) -> NDArray[np.float32]:  # type: ignore[type-arg]
    """Points (M, 2) as kept in frame pixels: of a pixel that holds a point, its middle."""
    if points_xy.dtype == np.uint16:
        return points_xy.astype(np.float32) + np.float32(0.5)
    return points_xy.astype(np.float32)


def similarities_of_sights(kept: Tensor, found: Mapping[str, Tensor]) -> Similarities:
    """Similarities of the sights of region tracks from those of what the tracks keep.

    Args:
        kept: (V, Q) cosines of the tracks' vectors and the query vectors.
        found: Of ``track_arrays``: ``first`` (T,), ``track`` (M,) and ``mix`` (M, 4).
    """
    first, track, mix = found["first"].long(), found["track"].long(), found["mix"].float()

    # the best vector of each track
    lengths = first.diff(append=first.new_tensor([len(kept)]))
    owner = torch.arange(len(first)).repeat_interleave(lengths)
    best = kept.new_full((len(first),), -1.0)
    best = best.scatter_reduce(0, owner, kept.amax(dim=1), "amax")

    # each sight, as it is mixed from the vectors of its track; shares beyond them are 0
    rows = first[track][:, None] + torch.arange(mix.shape[1])
    own = (mix[:, :, None] * kept[rows.clamp(max=len(kept) - 1)]).sum(dim=1)  # (M, Q)
    return Similarities(_numbers(own.amax(dim=1)), _numbers(best[track]))


def _stacked(frames: Iterable[tuple[NDArray, NDArray, int]]) -> Arrays:  # type: ignore[type-arg]
    """Vectors and points of the tokens of some frames one after another, and the frame of each."""
    vectors, points, numbers = zip(*frames, strict=True)
    return {
        "vectors": np.concatenate(vectors),
        "points_xy": np.concatenate(points),
        "frame_idx": np.repeat(np.array(numbers, np.int32), [len(own) for own in vectors]),
    }


def _numbers(similarities: Tensor) -> NDArray[np.float32]:
    numbers: NDArray[np.float32] = similarities.float().cpu().numpy()
    return numbers
