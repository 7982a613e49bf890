"""What is kept of a video: its region tracks, packed into two files that are mapped, not read.

``vectors.faiss`` holds the vectors of all tracks, reduced and in 8 bits a number (FAISS SQ8), in
the order of time, or of a long video in lists of similar ones (IVF), where the row is the id;
``sights.safetensors`` holds where and when the tracks were seen. Both are made
of the chunks of ``localize.tokens``, whose bounds are kept as well: so a stretch of a video is
scored like a chunk, whichever way it is kept.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file, save_file
from torch import Tensor

from ren_core.errors import DataError
from vq2d.localize.chunks import (
    Similarities,
    TokenChunk,
    middles_of,
    similarities_of_sights,
    track_vectors,
)
from vq2d.localize.projection import Projection

VECTORS = "vectors.faiss"
SIGHTS = "sights.safetensors"
SIGHT_NAMES = ("frame_idx", "track", "points_xy", "mix")
QUANTIZER_SAMPLE = 65_536
"""So many vectors of a video, evenly taken, set the range of each number."""

LISTS_FROM = 100_000
"""From so many vectors on, about ten minutes, a video's are kept in lists."""
LIST_LENGTH = 600
"""About so many vectors are in a list."""
LISTS_SEARCHED = 32
"""One of so many lists is searched, where not all are."""

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class ChunkBounds:
    """Where the parts of a chunk begin in the files of its video; each ends where the next begins.

    Attributes:
        frame: Clip frame.
        vector: Row of ``vectors.faiss``.
        track: Row of ``first`` in ``sights.safetensors``.
        sight: Row of the other arrays there.
    """

    frame: int
    vector: int
    track: int
    sight: int


def pack(chunks: Sequence[TokenChunk], reduce: Projection, folder: Path) -> list[ChunkBounds]:
    """Write the files of a video.

    Args:
        chunks: Of joined tokens, all of the video's, in temporal order.
        reduce: Applied to all vectors.
        folder: Is there; the files in it are overwritten.

    Returns:
        The bounds of each chunk, and one more where the last one ends.
    """
    with _one_thread():
        index = _empty_index(chunks, reduce)
        bounds = [ChunkBounds(0, 0, 0, 0)]
        arrays: dict[str, list[NDArray[Any]]] = {name: [] for name in ("first", *SIGHT_NAMES)}
        for chunk in chunks:
            found = load_file(chunk.path)
            index.add(reduce(track_vectors(found)))
            for name, parts in arrays.items():
                parts.append(found[name])
            last = bounds[-1]
            bounds.append(
                ChunkBounds(
                    chunk.last_frame + 1,
                    index.ntotal,
                    last.track + len(found["first"]),
                    last.sight + len(found["frame_idx"]),
                )
            )
    faiss.write_index(index, str(folder / VECTORS))
    save_file({n: np.concatenate(parts) for n, parts in arrays.items()}, folder / SIGHTS)
    return bounds


@contextmanager
def _one_thread() -> Iterator[None]:
    """FAISS on one thread, so that it gives the same bytes on every machine."""
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(threads)


def _empty_index(chunks: Sequence[TokenChunk], reduce: Projection) -> Any:  # noqa: ANN401
    """An index whose numbers have the ranges, and its lists the places, that the video needs."""
    share = max(1, QUANTIZER_SAMPLE // len(chunks))
    sample, count = [], 0
    for chunk in chunks:
        vectors = track_vectors(load_file(chunk.path))
        sample.append(reduce(vectors[:: max(1, len(vectors) // share)]))
        count += len(vectors)
    kind = "SQ8"
    if count >= LISTS_FROM:
        kind = f"IVF{2 ** round(math.log2(count / LIST_LENGTH))},SQ8"
    index: Any = faiss.index_factory(reduce.dims, kind, faiss.METRIC_INNER_PRODUCT)
    if isinstance(index, faiss.IndexIVF):
        index.by_residual = False  # so that a list is decoded without its centre
    index.train(np.concatenate(sample))
    return index


class KeptVideo:
    """The packed files of a video, opened when they are first needed."""

    def __init__(self, folder: Path, bounds: Sequence[ChunkBounds], reduce: Projection) -> None:
        self.folder = folder
        self.bounds = bounds
        self.reduce = reduce
        self._last: tuple[Floats, Floats] | None = None  # a question, and all its cosines

    def best_similarity(
        self, query_vectors: Tensor, end_frame: int, *, thorough: bool = True
    ) -> float:
        """About the highest cosine of what is seen before a frame to a query; -1 if nothing is.

        Args:
            query_vectors: (Q, D) unit vectors.
            end_frame: Clip frame; the chunk that holds it counts as a whole.
            thorough: Search all lists of a long video, not only the nearest ones.
        """
        rows = next((b.vector for b in self.bounds if b.frame >= end_frame), self._index.ntotal)
        if rows == 0:
            return -1.0
        asked = self.reduce(query_vectors.float().cpu().numpy())
        before = faiss.IDSelectorRange(0, rows)
        how: Any = faiss.SearchParameters(sel=before)  # type: ignore[call-arg]
        if isinstance(self._index, faiss.IndexIVF):
            lists: int = self._index.nlist
            probes = lists if thorough else max(1, lists // LISTS_SEARCHED)
            how = faiss.SearchParametersIVF(sel=before, nprobe=probes)  # type: ignore[call-arg]
        scores, found = self._index.search(asked, 1, params=how)
        return float(scores[found >= 0].max(initial=-1.0))

    def chunks(self, held: Sequence[int] = ()) -> list[KeptChunk]:
        """The chunks, in temporal order.

        Args:
            held: Clip frames of the video that cannot be decoded.
        """
        return [
            KeptChunk(self, begin, end, tuple(i for i in held if begin.frame <= i < end.frame))
            for begin, end in zip(self.bounds, self.bounds[1:], strict=False)
        ]

    def similarities(self, begin: ChunkBounds, end: ChunkBounds, queries: Tensor) -> Similarities:
        """Of the sights of a chunk to query vectors (Q, D)."""
        kept = torch.from_numpy(self._of_vectors(begin, end, queries))
        found = {name: self.rows(name, begin, end) for name in ("first", "track", "mix")}
        return similarities_of_sights(kept, {n: torch.from_numpy(a) for n, a in found.items()})

    def _of_vectors(self, begin: ChunkBounds, end: ChunkBounds, queries: Tensor) -> Floats:
        """Cosines (V, Q) of the vectors of a chunk to query vectors (Q, D)."""
        asked = self.reduce(queries.float().cpu().numpy())
        if not isinstance(self._index, faiss.IndexIVF):
            vectors = self._index.reconstruct_n(begin.vector, end.vector - begin.vector)
            kept: Floats = vectors @ asked.T
            return kept
        if self._last is None or not np.array_equal(self._last[0], asked):
            self._last = (asked, _of_lists(self._index, asked))
        return self._last[1][begin.vector : end.vector]

    def rows(self, name: str, begin: ChunkBounds, end: ChunkBounds) -> NDArray[Any]:
        """The rows of an array of ``sights.safetensors`` that belong to a chunk."""
        if name == "first":
            part: NDArray[Any] = self._sights.get_slice(name)[begin.track : end.track]
        else:
            part = self._sights.get_slice(name)[begin.sight : end.sight]
        return part

    def verify(self) -> None:
        """Read both files to their ends.

        Raises:
            DataError: If one is missing or damaged, or they do not belong together.
        """
        try:
            arrays = load_file(self.folder / SIGHTS)
        except (OSError, SafetensorError) as err:
            raise DataError(f"{self.folder / SIGHTS} cannot be read ({err})") from err
        end, (rows, dims) = self.bounds[-1], (self._index.ntotal, self._index.d)
        lengths = (rows, len(arrays["first"]), len(arrays["frame_idx"]))
        if lengths != (end.vector, end.track, end.sight) or dims != self.reduce.dims:
            raise DataError(f"the files in {self.folder} do not belong together")

    @cached_property
    def _index(self) -> Any:  # noqa: ANN401
        path = self.folder / VECTORS
        try:
            return faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC | faiss.IO_FLAG_READ_ONLY)
        except RuntimeError as err:
            raise DataError(
                f"{path} cannot be read ({str(err).splitlines()[0]}); run `vq2d memory check`"
            ) from err

    @cached_property
    def _sights(self) -> Any:  # noqa: ANN401
        return safe_open(self.folder / SIGHTS, framework="np")


def _of_lists(index: Any, asked: Floats) -> Floats:  # noqa: ANN401
    """Cosines (V, Q) of all vectors of an index of lists, in the order of their ids."""
    cosines = np.empty((index.ntotal, len(asked)), np.float32)
    for place in range(index.nlist):
        size = index.invlists.list_size(place)
        if size == 0:
            continue
        ids = faiss.rev_swig_ptr(index.invlists.get_ids(place), size)
        codes = faiss.rev_swig_ptr(index.invlists.get_codes(place), size * index.code_size)
        vectors = index.sq.decode(codes.reshape(size, index.code_size))
        cosines[ids] = vectors @ asked.T
    return cosines


@dataclass(frozen=True)
class KeptChunk:
    """A ``Chunk`` of a packed video.

    Attributes:
        video: Has the files.
        begin: Where the chunk begins in them.
        end: Where the next one begins.
        held: Clip frames that cannot be decoded.
    """

    video: KeptVideo
    begin: ChunkBounds
    end: ChunkBounds
    held: tuple[int, ...] = ()

    @property
    def first_frame(self) -> int:
        """First clip frame."""
        return self.begin.frame

    @property
    def last_frame(self) -> int:
        """Last clip frame."""
        return self.end.frame - 1

    @property
    def frame_idx(self) -> NDArray[np.int32]:
        """(M,) clip frame of each sight, ascending."""
        return self.video.rows("frame_idx", self.begin, self.end)

    @property
    def points_xy(self) -> NDArray[np.float32]:
        """(M, 2) frame pixels."""
        return middles_of(self.video.rows("points_xy", self.begin, self.end))

    def similarities(self, query_vectors: Tensor) -> Similarities:
        """Of all sights to query vectors (Q, D) of unit length."""
        return self.video.similarities(self.begin, self.end, query_vectors)
