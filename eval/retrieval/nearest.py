"""The search that retrieval needs: every query's most similar vector of an image."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from ren_core.errors import ConfigError

Vectors = NDArray[np.float32]
Best = tuple[NDArray[np.float32], NDArray[np.int64]]
Search = Callable[[Vectors, Vectors], Best]
"""Takes unit queries (Q, D) and the unit vectors (G, D) of one image, G >= 1; gives each query's
highest cosine (Q,) and the index (Q,) of the vector that has it."""

NAMES = ("matrix", "faiss")


def matrix_search(device: torch.device | str = "cpu") -> Search:
    """A plain matrix product on a device."""

    def search(queries: Vectors, vectors: Vectors) -> Best:
        q, v = (torch.from_numpy(a).to(device) for a in (queries, vectors))
        best = (q @ v.T).max(dim=1)
        return best.values.cpu().numpy(), best.indices.cpu().numpy()

    return search


def faiss_search() -> Search:
    """FAISS's exact inner-product index, on the CPU.

    Raises:
        ConfigError: If FAISS is not installed.
    """
    try:
        import faiss
    except ImportError as err:
        raise ConfigError(
            "FAISS is not installed; run `pip install faiss-cpu` or choose --search matrix"
        ) from err

    def search(queries: Vectors, vectors: Vectors) -> Best:
        index = faiss.IndexFlatIP(vectors.shape[1])
        index.add(np.ascontiguousarray(vectors))
        scores, indices = index.search(np.ascontiguousarray(queries), 1)
        return scores[:, 0], indices[:, 0]

    return search


def build_search(name: str, device: torch.device | str = "cpu") -> Search:
    """The search of a name.

    Raises:
        ConfigError: If there is none of that name, or its package is missing.
    """
    if name not in NAMES:
        raise ConfigError(f"search must be one of {', '.join(NAMES)}, got {name!r}")
    return faiss_search() if name == "faiss" else matrix_search(device)
