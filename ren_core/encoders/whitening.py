"""Fit the whitening statistics of the embedded encoder's sources."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ren_core.encoders.base import EncoderSpec, normalise, squash
from ren_core.encoders.embedded import Composite, CompositeSources, Source, Whitening
from ren_core.errors import ConfigError

SHRINKAGE = 0.1  # share of the mean eigenvalue added to each, so that noise is not blown up


@dataclass(frozen=True, slots=True)
class Part:
    """One source of the composite: how many whitened dimensions it keeps, and its weight."""

    source: Source
    dim: int
    weight: float


class Moments:
    """Running mean and covariance of feature vectors, in float64."""

    def __init__(self, dim: int) -> None:
        self.count = 0
        self.total = torch.zeros(dim, dtype=torch.float64)
        self.outer = torch.zeros(dim, dim, dtype=torch.float64)

    def update(self, vectors: Tensor) -> None:
        """Add vectors (N, D)."""
        wide = vectors.double()
        self.count += len(wide)
        self.total += wide.sum(0)
        self.outer += wide.T @ wide

    @property
    def mean(self) -> Tensor:
        """(D,) float64."""
        return self.total / self.count

    @property
    def covariance(self) -> Tensor:
        """(D, D) float64."""
        return self.outer / self.count - torch.outer(self.mean, self.mean)


def whitening_of(moments: Moments, dim: int, weight: float = 1.0) -> Whitening:
    """PCA whitening to the ``dim`` strongest directions, eigenvalues shrunk towards their mean.

    Raises:
        ConfigError: If more dimensions are asked for than there are.
    """
    values, vectors = torch.linalg.eigh(moments.covariance)  # ascending
    if not 1 <= dim <= len(values):
        raise ConfigError(f"a whitened width must be in 1..{len(values)}, got {dim}")
    scale = (values.clamp_min(0) + SHRINKAGE * values.mean()).rsqrt()
    projection = (vectors * scale)[:, -dim:].flip(1)
    return Whitening(moments.mean.float(), projection.float().contiguous(), weight)


@torch.no_grad()
def fit_composite(
    images: Iterable[Tensor], sources: CompositeSources, parts: Sequence[Part], spec: EncoderSpec
) -> Composite:
    """Whitening of every part, from images (3, H, W) float RGB in 0..1.

    Raises:
        ConfigError: If there is no image.
    """
    moments: dict[Source, Moments] = {}
    for image in images:
        squashed = normalise(squash(image[None], spec.input_size), spec)
        for source, raw in sources(squashed).items():
            vectors = raw[0].flatten(1).T
            moments.setdefault(source, Moments(vectors.shape[1])).update(vectors)
    if not moments:
        raise ConfigError("no image was given to fit the whitening on")
    return {p.source: whitening_of(moments[p.source], p.dim, p.weight) for p in parts}
