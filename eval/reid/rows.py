"""The rows of the re-identification table: kinds of tokens, all made from the same features."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from eval.features import PATCH, Features, FeatureStore
from eval.reid.describe import Describe, Described, Descriptions
from ren_core.encoders.base import EncoderSpec, patches_at, squash
from ren_core.images import Image, to_batch, to_picture
from ren_core.presets import RENConfig
from ren_core.prompts import grid_centres, grid_prompts, slic_prompts, to_image_points
from ren_core.region_encoder import RegionEncoder
from ren_core.regions import pool_labels
from ren_core.training.config import TrainConfig
from ren_core.training.start import build_head

MakeTokens = Callable[[Image, Features], Descriptions]
"""Tokens of one or more rows from a picture (H, W, 3) and its features."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Names of rows, and what makes their tokens in one go."""

    names: tuple[str, ...]
    make: MakeTokens


def describer(store: FeatureStore, sources: Sequence[Rows]) -> Describe:
    """All rows of a picture from one encoder pass."""

    @torch.no_grad()
    def describe(image: Image) -> Descriptions:
        features = store(image)
        found: Descriptions = {}
        for source in sources:
            found |= source.make(image, features)
        return found

    return describe


def patch_row(row: str, feature: str = PATCH) -> Rows:
    """Patches of one kind of features, as tokens at their centres."""

    def make(image: Image, features: Features) -> Descriptions:
        patches = features[feature]
        cells = patches.shape[-1]
        centres = grid_centres(cells, image.shape[:2])
        return {row: Described(patches.flatten(1).T, centres, cells)}

    return Rows((row,), make)


def superpixel_row(row: str, spec: EncoderSpec, config: RENConfig) -> Rows:
    """Patches averaged over SLIC superpixels of the encoder's square image."""
    R = spec.input_size

    def make(image: Image, features: Features) -> Descriptions:
        square = squash(to_batch(image), R)[0]
        prompts = slic_prompts(to_picture(square), config.grid_size**2, config.compactness)
        assert prompts.labels is not None
        tokens = pool_labels(features[PATCH], prompts.labels, len(prompts))
        points = to_image_points(prompts.points_yx, R, (image.shape[0], image.shape[1]))
        return {row: Described(tokens, points.numpy())}

    return Rows((row,), make)


def head_rows(
    head: RegionEncoder,
    spec: EncoderSpec,
    config: RENConfig,
    *,
    ren: str | None,
    aligned: str | None = None,
    joined: str | None = None,
) -> Rows:
    """Tokens of a head at a grid of prompts, from one pass of the head.

    Args:
        head: In evaluation mode.
        spec: Of the encoder.
        config: Gives the grid.
        ren: Name of the row of its REN tokens; None leaves it out.
        aligned: Name of the row of its aligned tokens; None leaves it out.
        joined: Name of the row of REN tokens, each joined with the patch at its prompt so that
            both count alike; None leaves it out.
    """
    R = spec.input_size
    prompts = grid_prompts(R, config.grid_size, config.grid_convention).points_yx

    def make(image: Image, features: Features) -> Descriptions:
        output = head(features[PATCH][None], prompts[None], R)
        points = to_image_points(prompts, R, (image.shape[0], image.shape[1])).numpy()
        found: Descriptions = {}
        if ren is not None:
            found[ren] = Described(output.ren_tokens[0], points)
        if aligned is not None:
            found[aligned] = Described(output.aligned_tokens[0], points)
        if joined is not None:
            patches = patches_at(features[PATCH], prompts, spec.patch_size)
            tokens = torch.cat([F.normalize(output.ren_tokens[0], dim=-1), patches], dim=-1)
            found[joined] = Described(tokens, points)
        return found

    return Rows(tuple(name for name in (ren, aligned, joined) if name is not None), make)


def fresh_head(spec: EncoderSpec, start: str, seed: int) -> RegionEncoder:
    """A head before training, in evaluation mode; ``start`` as in ``TrainConfig``."""
    config = TrainConfig(steps=1, warmup=0, start=start, seed=seed)
    return build_head(spec.dim, spec.grid, config).eval()
