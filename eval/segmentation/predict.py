"""Class scores of whole images: one squashed square, or windows that slide over it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from eval.features import PATCH, FeatureStore
from eval.segmentation.config import SegmentationConfig
from eval.segmentation.head import SegmentationHead
from eval.segmentation.tokens import Prediction, token_maps
from eval.segmentation.views import padded, rescaled, squashed
from ren_core.encoders.base import fingerprint, squash
from ren_core.images import Image, to_batch, to_tensor
from ren_core.model import REN
from ren_core.stages import open_stage

Encode = Callable[[Image], Tensor]
"""Patch features (D, h, w) of an RGB image (H, W, 3) uint8 of any size, squashed."""

Heads = Mapping[str, SegmentationHead]
"""A trained head by source of tokens."""

SLIDE_STEP = 341 / 512  # step of sliding windows, as a share of their side


def direct_encode(ren: REN) -> Encode:
    """Encode every image when it is asked for."""
    return lambda image: ren.patch_features([to_tensor(image)]).features[0]


def stored_encode(ren: REN, root: Path) -> Encode:
    """Encode every image once and keep its features under ``root``, in float16."""
    identity = {"spec": ren.encoder.spec, "dtype": str(ren.dtype)}
    upstream = [fingerprint([ren.encoder], ren.image_size)]
    folder = open_stage(
        root, "patch_features", identity, upstream=upstream, code=[__name__, "ren_core.model"]
    )
    encode = direct_encode(ren)
    store = FeatureStore(lambda image: {PATCH: encode(image).float().cpu()}, folder)
    return lambda image: store(image)[PATCH]


def predict(
    image: Image,
    ren: REN,
    config: SegmentationConfig,
    heads: Mapping[int, Heads],
    encode: Encode,
) -> list[tuple[Prediction, int]]:
    """Prediction and number of distinct tokens of an image (H, W, 3), for every method and seed.

    All seeds of the first method come first.
    """
    R = ren.image_size
    if not config.head.slide:
        return _predict_square(squashed(image, R, config.head), ren, config, heads, encode)
    whole = rescaled(image, R)
    H, W = whole.shape[:2]
    canvas_hw = (max(R, H), max(R, W))
    canvas = padded(whole, canvas_hw, ren.encoder.spec)
    sums: list[Tensor] = []
    times = torch.zeros(canvas_hw, device=ren.device)
    tokens: list[int] = []
    for y in window_starts(canvas_hw[0], R):
        for x in window_starts(canvas_hw[1], R):
            window = canvas[y : y + R, x : x + R]
            found = _predict_square(window, ren, config, heads, encode)
            if not sums:
                sums = [p.scores.new_zeros((len(p.scores), *canvas_hw)) for p, _ in found]
                tokens = [0] * len(found)
            times[y : y + R, x : x + R] += 1
            for i, (prediction, count) in enumerate(found):
                sums[i][:, y : y + R, x : x + R] += prediction.dense((R, R))
                tokens[i] += count
    return [(Prediction((s / times)[:, :H, :W]), n) for s, n in zip(sums, tokens, strict=True)]


def window_starts(length: int, side: int) -> list[int]:
    """First pixels of windows of ``side`` that cover ``length`` pixels.

    >>> window_starts(700, 512)
    [0, 188]
    """
    step = max(1, round(side * SLIDE_STEP))
    return [*range(0, length - side, step), length - side]


@torch.inference_mode()
def _predict_square(
    image: Image,
    ren: REN,
    config: SegmentationConfig,
    heads: Mapping[int, Heads],
    encode: Encode,
) -> list[tuple[Prediction, int]]:
    square = squash(to_batch(image), ren.image_size)[0]
    maps = token_maps(ren, config.methods, encode(image), square, config.grid_size)
    found = []
    for method, tokens in zip(config.methods, maps, strict=True):
        for by_source in heads.values():
            scores = by_source[method.source](tokens.tokens.float().T[None, :, :, None])[0, :, :, 0]
            if tokens.prompts is None:
                side = round(scores.shape[1] ** 0.5)
                prediction = Prediction(scores.unflatten(1, (side, side)))
            else:
                prediction = Prediction(scores, tokens.prompts.labels)
            found.append((prediction, tokens.distinct))
    return found
