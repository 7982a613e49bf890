"""Stage 5: good frames of the track become more query vectors, to search what follows it."""

from __future__ import annotations

from typing import Annotated

import cv2
import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from ren_core.configuration import Cosine, Count, configuration
from ren_core.geometry import clip_boxes
from ren_core.images import Image
from vq2d.localize.hunt import Hunt
from vq2d.localize.models import Models
from vq2d.localize.query import QueryConfig, object_vectors
from vq2d.types import ObjectView, ResponseTrack

FRAMES_AT_ONCE = 8
"""Memory does not grow with the length of a track."""

_JudgedSide = Annotated[int, Field(ge=32, le=4096)]


@configuration(group="expand")
class ExpandConfig:
    """Which tracked frames are taken, and when the second track replaces the first.

    Attributes:
        rounds: Searches after the first, at most: each of what follows the track, as long as a
            later track is accepted.
        similarity: Least similarity of a new vector to an original one.
        min_side: Least side of the tracked box, pixels of the frame as it is judged.
        sharpness: Least variance of the Laplacian (grey levels squared) of the frame as it is
            judged.
        judged_at: Largest shorter and longer side, in pixels, of the frames that are judged; larger
            frames are shrunk first. None: as they are.
        max_frames: Most tracked frames used, evenly spaced; None: all.
        floor: Least refined score of a candidate for the second track.
        accept_ratio: The second track is taken if its score exceeds this share of the first's.
        join_gap: A second track that begins on the same spot at most this many frames after the
            first one is the same occurrence, and joined to it; None: always a new one.
    """

    rounds: Annotated[int, Field(ge=0, le=100)] = 1
    similarity: Cosine = 0.5
    min_side: Annotated[float, Field(ge=0, le=4096)] = 10.0
    sharpness: Annotated[float, Field(ge=0, le=1_000_000)] = 100.0
    judged_at: tuple[_JudgedSide, _JudgedSide] | None = (288, 512)
    max_frames: Count | None = None
    floor: Cosine = 0.7
    accept_ratio: Annotated[float, Field(ge=0, le=100)] = 0.7
    join_gap: Annotated[int, Field(ge=0, le=10_000)] | None = None


def sharpness(image: Image, scale: float = 1.0) -> float:
    """Variance of the Laplacian of the grey image, first scaled: low where it is blurred."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    if scale < 1:
        grey = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return float(cv2.Laplacian(grey, cv2.CV_64F).var())


def judged_scale(size_hw: tuple[int, int], judged_at: tuple[int, int] | None) -> float:
    """Factor, at most 1, from a frame to the size at which it is judged.

    >>> judged_scale((1080, 1920), (288, 512)), judged_scale((100, 200), (288, 512))
    (0.26666666666666666, 1.0)
    """
    if judged_at is None:
        return 1.0
    return min(1.0, judged_at[0] / min(size_hw), judged_at[1] / max(size_hw))


def more_query_vectors(
    track: ResponseTrack, hunt: Hunt, models: Models, query: QueryConfig, config: ExpandConfig
) -> Tensor:
    """Vectors (K, D) of the track's sharp, large and similar enough frames; K may be 0."""
    boxes = clip_boxes(track.boxes_xyxy, hunt.frames.size_hw)
    scale = judged_scale(hunt.frames.size_hw, config.judged_at)
    large = np.flatnonzero((boxes[:, 2:] - boxes[:, :2]).min(axis=1) * scale > config.min_side)
    if config.max_frames is not None and len(large) > config.max_frames:
        large = large[np.linspace(0, len(large) - 1, config.max_frames).round().astype(int)]
    known = hunt.target.vectors
    found = [known[:0]]
    for start in range(0, len(large), FRAMES_AT_ONCE):
        views = []
        for i in large[start : start + FRAMES_AT_ONCE]:
            frame = hunt.frames[track.start_frame + int(i)]
            if sharpness(frame, scale) >= config.sharpness:
                views.append(ObjectView(frame, boxes[i]))
        if views:
            vectors = object_vectors(views, models, query)
            found.append(vectors[(vectors @ known.T).amax(dim=1) > config.similarity])
    return torch.cat(found)
