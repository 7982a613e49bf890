"""Stage 5: good frames of the track become more query vectors."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from ren_core.geometry import clip_boxes
from ren_core.images import Image
from vq2d.localize.encode import Matcher
from vq2d.localize.query import QueryConfig, object_tokens
from vq2d.masking.base import PromptableSegmenter
from vq2d.types import FrameSource, ResponseTrack


@dataclass(frozen=True, kw_only=True, slots=True)
class ExpandConfig:
    """Which tracked frames are taken, and when the second track replaces the first.

    Attributes:
        rounds: Searches after the first: 0 or 1.
        similarity: Least similarity of a new vector to an original one.
        min_side: Least side of the tracked box, frame pixels.
        sharpness: Least variance of the frame's Laplacian (grey levels squared).
        max_frames: Most tracked frames used, evenly spaced.
        accept_ratio: The second track is taken if its score exceeds this share of the first's.
        join_gap: A second track that begins on the same spot at most this many frames after the
            first one is the same occurrence, and joined to it; None: always a new one.
    """

    rounds: int = 1
    similarity: float = 0.5
    min_side: float = 10.0
    sharpness: float = 100.0
    max_frames: int = 16
    accept_ratio: float = 0.7
    join_gap: int | None = None


def sharpness(image: Image) -> float:
    """Variance of the Laplacian of the grey image: low where the frame is blurred."""
    return float(cv2.Laplacian(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.CV_64F).var())


def more_query_tokens(
    track: ResponseTrack,
    frames: FrameSource,
    query_tokens: Tensor,
    *,
    matcher: Matcher,
    segmenter: PromptableSegmenter,
    query: QueryConfig,
    config: ExpandConfig,
) -> Tensor:
    """Vectors (K, D) of the track's sharp, large and similar enough frames; K may be 0."""
    boxes = clip_boxes(track.boxes_xyxy, frames.size_hw)
    large = np.flatnonzero((boxes[:, 2:] - boxes[:, :2]).min(axis=1) > config.min_side)
    if len(large) > config.max_frames:
        large = large[np.linspace(0, len(large) - 1, config.max_frames).round().astype(int)]
    found = [query_tokens[:0]]
    for i in large:
        frame = frames[track.start_frame + int(i)]
        if sharpness(frame) < config.sharpness:
            continue
        vectors = object_tokens(
            frame, boxes[i], matcher, segmenter, query, with_appearance=False
        ).vectors
        similar = (vectors @ query_tokens.T).amax(dim=1) > config.similarity
        found.append(vectors[similar])
    return torch.cat(found)
