"""Stage 3: a candidate's point becomes a box, looked at again in zoomed crops."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from ren_core.configuration import Cosine, Share, Weight, Zoom, configuration
from ren_core.geometry import Boxes, Mask, expand_box
from ren_core.images import Image
from vq2d.localize.colour import colour_histogram
from vq2d.localize.encode import TokenEncoder
from vq2d.localize.hunt import Hunt
from vq2d.localize.models import Models
from vq2d.localize.query import ZOOMS, ObjectTokens
from vq2d.types import Candidate
from vq2d.video.crops import Crop, zoom_crop


@configuration(group="refine")
class RefineConfig:
    """How candidates are refined and which are kept.

    Attributes:
        crop_factors: Zooms around the first box; empty: no refinement, the search's similarity
            stays the score.
        stay_near: Tokens further from the first box than this multiple of it do not count;
            0: all of a crop's tokens count.
        redraw: Draw the box again at the best token, in the zoom that holds it.
        floor: Least refined score; lowered to the best one if none reaches it.
        keep_ratio: Least refined score, as a share of the best one.
        colour: Weight in the refined score of the colours that the masks of the candidate and of
            the query share, beside a weight of 1 of the similarity.
    """

    crop_factors: Annotated[tuple[Zoom, ...], Field(max_length=32)] = ZOOMS
    stay_near: Annotated[float, Field(ge=0, le=100)] = 0.0
    redraw: bool = True
    floor: Cosine = 0.7
    keep_ratio: Share = 0.0
    colour: Weight = 0.0


def refine(
    candidate: Candidate, hunt: Hunt, query_vectors: Tensor, models: Models, config: RefineConfig
) -> Candidate | None:
    """Give a candidate its box and refined score; None if there is nothing to segment.

    Args:
        candidate: From the search.
        hunt: Gives the frame, and what the thing looks like.
        query_vectors: (Q, D) unit vectors of this search.
        models: Encoder and segmenter are used.
        config: Zooms.
    """
    frame, target = hunt.frames[candidate.frame_idx], hunt.target
    size_hw = (frame.shape[0], frame.shape[1])
    first = models.segmenter.from_point(frame, candidate.point_xy, appearance=target.appearance)
    if first is None:
        return None
    if not config.crop_factors:
        score = _with_colours(candidate.similarity, frame, first.mask, target, config.colour)
        return replace(candidate, box_xyxy=first.box_xyxy, refined_score=score)
    crops = dict.fromkeys(zoom_crop(first.box_xyxy, size_hw, f) for f in config.crop_factors)
    limits = expand_box(first.box_xyxy, config.stay_near) if config.stay_near > 0 else None
    score, point, window = _best_token(frame, list(crops), query_vectors, models.encoder, limits)
    score = _with_colours(score, frame, first.mask, target, config.colour)
    if not config.redraw:
        return replace(candidate, box_xyxy=first.box_xyxy, refined_score=score)
    inside = window.points_to_crop(point)
    final = models.segmenter.from_point(
        window.cut(frame), (float(inside[0]), float(inside[1])), appearance=target.appearance
    )
    box = first.box_xyxy if final is None else window.box_to_frame(final.box_xyxy)
    return replace(
        candidate,
        point_xy=(float(point[0]), float(point[1])),
        box_xyxy=box,
        refined_score=score,
    )


def keep_good(candidates: Sequence[Candidate], config: RefineConfig) -> list[Candidate]:
    """Refined candidates that pass the absolute and the relative floor, in temporal order."""
    scores = [c.refined_score for c in candidates if c.refined_score is not None]
    if not scores:
        return []
    best = max(scores)
    least = min(best, max(config.floor, config.keep_ratio * best))
    kept = [c for c in candidates if c.refined_score is not None and c.refined_score >= least]
    return sorted(kept, key=lambda c: c.frame_idx)


def _with_colours(
    similarity: float, frame: Image, mask: Mask, target: ObjectTokens, weight: float
) -> float:
    """Weighted mean of a similarity and of the colours that a mask shares with the query."""
    if not weight:
        return similarity
    shared = np.minimum(colour_histogram(frame, mask), target.colours).sum()
    return (similarity + weight * float(shared)) / (1 + weight)


def _best_token(
    frame: Image,
    crops: list[Crop],
    query_vectors: Tensor,
    encoder: TokenEncoder,
    limits: Boxes | None,
) -> tuple[float, NDArray[np.float32], Crop]:
    """Highest similarity among the tokens of some crops, where it is in the frame, and its crop."""
    found = encoder.regions([crop.cut(frame) for crop in crops])
    best, best_point, best_crop = -2.0, np.zeros(2, np.float32), crops[0]
    for crop, tokens in zip(crops, found, strict=True):
        similarity = (tokens.vectors @ query_vectors.T).amax(dim=1).cpu().numpy()
        points = crop.points_to_frame(tokens.points_xy)
        if limits is not None:
            inside = ((points >= limits[:2]) & (points <= limits[2:])).all(axis=1)
            if inside.any():
                similarity = np.where(inside, similarity, -2.0)
        i = int(similarity.argmax())
        if similarity[i] > best:
            best, best_point, best_crop = float(similarity[i]), points[i], crop
    return best, best_point, best_crop
