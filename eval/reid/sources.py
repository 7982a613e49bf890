"""The kinds of tokens that re-identification compares, all made from the same features."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from eval.features import PATCH, Features, FeatureStore
from eval.reid.tokens import PointTokens, Tokenize, TokensByKind
from ren_core.encoders.base import EncoderSpec, patches_at, squash
from ren_core.images import Image, to_batch, to_picture
from ren_core.presets import RENConfig
from ren_core.prompts import grid_centres, grid_prompts, slic_prompts, to_image_points
from ren_core.region_encoder import RegionEncoder
from ren_core.regions import pool_labels
from ren_core.training.config import Start, TrainConfig
from ren_core.training.start import build_head

MakeTokens = Callable[[Image, Features], TokensByKind]
"""Makes one or more kinds of tokens of a picture (H, W, 3) and its features."""


@dataclass(frozen=True, slots=True)
class TokenSource:
    """One or more kinds of tokens, and what makes them in one go."""

    kinds: tuple[str, ...]
    make: MakeTokens


def build_tokenizer(store: FeatureStore, sources: Sequence[TokenSource]) -> Tokenize:
    """Makes the tokens of all sources from one pass of the encoder."""

    @torch.no_grad()
    def tokenize(image: Image) -> TokensByKind:
        features = store(image)
        found: TokensByKind = {}
        for source in sources:
            found |= source.make(image, features)
        return found

    return tokenize


def patch_source(kind: str, feature: str = PATCH) -> TokenSource:
    """Patches of one kind of features, as tokens at their centres."""

    def make(image: Image, features: Features) -> TokensByKind:
        patches = features[feature]
        cells = patches.shape[-1]
        centres = grid_centres(cells, image.shape[:2])
        return {kind: PointTokens(patches.flatten(1).T, centres, cells)}

    return TokenSource((kind,), make)


def superpixel_source(kind: str, spec: EncoderSpec, config: RENConfig) -> TokenSource:
    """Patches averaged over SLIC superpixels of the encoder's square image."""
    R = spec.input_size

    def make(image: Image, features: Features) -> TokensByKind:
        square = squash(to_batch(image), R)[0]
        prompts = slic_prompts(to_picture(square), config.grid_size**2, config.compactness)
        assert prompts.labels is not None
        tokens = pool_labels(features[PATCH], prompts.labels, len(prompts))
        points = to_image_points(prompts.points_yx, R, (image.shape[0], image.shape[1]))
        return {kind: PointTokens(tokens, points.numpy())}

    return TokenSource((kind,), make)


def head_source(
    head: RegionEncoder,
    spec: EncoderSpec,
    config: RENConfig,
    *,
    ren: str | None,
    aligned: str | None = None,
    joined: str | None = None,
) -> TokenSource:
    """Tokens of a head at a grid of prompts, from one pass of the head.

    Args:
        head: In evaluation mode.
        spec: Of the encoder.
        config: Gives the grid.
        ren: Name of its REN tokens; None leaves them out.
        aligned: Name of its aligned tokens; None leaves them out.
        joined: Name of REN tokens, each joined with the patch at its prompt so that both count
            alike; None leaves them out.
    """
    R = spec.input_size
    prompts = grid_prompts(R, config.grid_size, config.grid_convention).points_yx

    def make(image: Image, features: Features) -> TokensByKind:
        output = head(features[PATCH][None], prompts[None], R)
        points = to_image_points(prompts, R, (image.shape[0], image.shape[1])).numpy()
        found: TokensByKind = {}
        if ren is not None:
            found[ren] = PointTokens(output.ren_tokens[0], points)
        if aligned is not None:
            found[aligned] = PointTokens(output.aligned_tokens[0], points)
        if joined is not None:
            patches = patches_at(features[PATCH], prompts, spec.patch_size)
            tokens = torch.cat([F.normalize(output.ren_tokens[0], dim=-1), patches], dim=-1)
            found[joined] = PointTokens(tokens, points)
        return found

    return TokenSource(tuple(name for name in (ren, aligned, joined) if name is not None), make)


def fresh_head(spec: EncoderSpec, start: Start, seed: int) -> RegionEncoder:
    """A head before training, in evaluation mode; ``start`` as in ``TrainConfig``."""
    config = TrainConfig(steps=1, warmup=0, start=start, seed=seed)
    return build_head(spec.dim, spec.grid, config).eval()
