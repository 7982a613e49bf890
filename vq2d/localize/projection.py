"""Fewer dimensions for vectors that are kept: a projection, fitted once for a model."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from ren_core.errors import ConfigError, DataError
from ren_core.stages import atomic_path

ASSETS = Path(__file__).resolve().parents[1] / "assets"

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Projection:
    """An orthonormal basis in which inner products stay nearly what they were.

    Attributes:
        basis: (D, d) float32, the directions that hold most of the vectors' energy, best first.
        model: Digest of what decides the vectors that it was fitted to.
    """

    basis: Floats
    model: str

    @cached_property
    def fingerprint(self) -> str:
        """Identity of the directions."""
        return hashlib.sha256(self.basis.tobytes()).hexdigest()[:12]

    def __call__(self, vectors: Floats) -> Floats:
        """Vectors (N, D) as (N, d) float32; their inner products are a little smaller."""
        whole = torch.from_numpy(np.ascontiguousarray(vectors, np.float32))
        reduced: Floats = (whole @ torch.from_numpy(self.basis)).numpy()  # with torch's threads
        return reduced

    def first(self, dims: int) -> Projection:
        """Only the ``dims`` best directions.

        Raises:
            ConfigError: If there are fewer.
        """
        if dims > self.dims:
            raise ConfigError(f"{dims} directions are asked for, and {self.dims} were fitted")
        return Projection(np.ascontiguousarray(self.basis[:, :dims]), self.model)

    @property
    def dims(self) -> int:
        """Dimensions that are left."""
        return self.basis.shape[1]


def fit_projection(second_moment: NDArray[np.float64], dims: int, model: str) -> Projection:
    """The ``dims`` directions with the most energy: principal components about the origin.

    Args:
        second_moment: (D, D) sum or mean of the outer products of the vectors.
        dims: At most D.
        model: See ``Projection``.

    Raises:
        ConfigError: If there are fewer dimensions than are wanted.
    """
    if dims > len(second_moment):
        raise ConfigError(f"vectors of {len(second_moment)} dimensions cannot be reduced to {dims}")
    _, directions = np.linalg.eigh(second_moment)  # ascending
    basis = directions[:, ::-1][:, :dims]
    signs = np.sign(basis[np.abs(basis).argmax(axis=0), np.arange(dims)])  # eigh's are arbitrary
    return Projection(np.ascontiguousarray(basis * signs, np.float32), model)


def whole_space(dims: int, model: str) -> Projection:
    """No reduction: all ``dims`` directions."""
    return Projection(np.eye(dims, dtype=np.float32), model)


def save_projection(path: Path, projection: Projection) -> None:
    """Write a projection atomically, in 16 bits."""
    with atomic_path(path) as tmp:
        save_file({"basis": projection.basis.astype(np.float16)}, tmp, {"model": projection.model})


def load_projection(path: Path) -> Projection:
    """Read what ``save_projection`` wrote.

    Raises:
        DataError: If the file is missing or no projection.
    """
    try:
        with safe_open(path, framework="np") as file:
            return Projection(file.get_tensor("basis").astype(np.float32), file.metadata()["model"])
    except (OSError, SafetensorError, KeyError, TypeError) as err:
        raise DataError(
            f"{path} is no projection ({err}); make one with pipelines/fit_projection.py"
        ) from err


@cache
def shipped_projection(model: str) -> Projection | None:
    """The projection that comes with the program for a model; None: there is none."""
    for path in sorted(ASSETS.glob("*.safetensors")):
        projection = load_projection(path)
        if projection.model == model:
            return projection
    return None
