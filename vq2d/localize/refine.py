"""Stage 3: a candidate's point becomes a box, looked at again in zoomed crops."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from ren_core.configuration import Cosine, Share, Weight, Zoom, configuration
from ren_core.geometry import Boxes, expand_box
from ren_core.images import Image
from vq2d.localize.colour import colour_histogram
from vq2d.localize.encode import ImageTokens, TokenEncoder
from vq2d.localize.hunt import Hunt
from vq2d.localize.models import Models
from vq2d.localize.query import ZOOMS, ObjectTokens
from vq2d.masking.base import Place, Segment
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


@dataclass(frozen=True, slots=True)
class _Sight:
    """A candidate in its frame, with the thing that was segmented at its point."""

    candidate: Candidate
    frame: Image
    first: Segment


@dataclass(frozen=True, slots=True)
class _Best:
    """The best token of a candidate's zooms: its similarity, its point in the frame, its zoom."""

    similarity: float
    point_xy: NDArray[np.float32]
    window: Crop


def refine(
    candidates: Sequence[Candidate],
    hunt: Hunt,
    query_vectors: Tensor,
    models: Models,
    config: RefineConfig,
) -> list[Candidate]:
    """Give candidates their boxes and refined scores; those with nothing to segment are left out.

    All are looked at together: each step is one call of a network.

    Args:
        candidates: From the search, in temporal order.
        hunt: Gives the frames, and what the thing looks like.
        query_vectors: (Q, D) unit vectors of this search.
        models: Encoder and segmenter are used.
        config: Zooms.
    """
    frames = [hunt.frames[candidate.frame_idx] for candidate in candidates]
    places = [Place(f, c.point_xy) for f, c in zip(frames, candidates, strict=True)]
    target = hunt.target
    firsts = models.segmenter.from_points(places, appearance=target.appearance)
    sights = [
        _Sight(candidate, frame, first)
        for candidate, frame, first in zip(candidates, frames, firsts, strict=True)
        if first is not None
    ]
    if not sights:
        return []
    if not config.crop_factors:
        return [_refined(s, s.candidate.similarity, target, config.colour) for s in sights]
    best = _best_tokens(sights, query_vectors, models.encoder, config)
    refined = [
        _refined(sight, found.similarity, target, config.colour)
        for sight, found in zip(sights, best, strict=True)
    ]
    return _redrawn(sights, best, refined, hunt, models) if config.redraw else refined


def _redrawn(
    sights: Sequence[_Sight],
    best: Sequence[_Best],
    refined: Sequence[Candidate],
    hunt: Hunt,
    models: Models,
) -> list[Candidate]:
    """Candidates with their box drawn again at the best token, in the zoom that holds it."""
    places = []
    for sight, found in zip(sights, best, strict=True):
        x, y = found.window.points_to_crop(found.point_xy)
        places.append(Place(found.window.cut(sight.frame), (float(x), float(y))))
    finals = models.segmenter.from_points(places, appearance=hunt.target.appearance)
    drawn = []
    for candidate, found, final in zip(refined, best, finals, strict=True):
        x, y = found.point_xy
        box = candidate.box_xyxy if final is None else found.window.box_to_frame(final.box_xyxy)
        drawn.append(replace(candidate, point_xy=(float(x), float(y)), box_xyxy=box))
    return drawn


def keep_good(candidates: Sequence[Candidate], config: RefineConfig) -> list[Candidate]:
    """Refined candidates that pass the absolute and the relative floor, in temporal order."""
    scores = [c.refined_score for c in candidates if c.refined_score is not None]
    if not scores:
        return []
    best = max(scores)
    least = min(best, max(config.floor, config.keep_ratio * best))
    kept = [c for c in candidates if c.refined_score is not None and c.refined_score >= least]
    return sorted(kept, key=lambda c: c.frame_idx)


def _refined(
    sight: _Sight, similarity: float, target: ObjectTokens, colour_weight: float
) -> Candidate:
    """The candidate with its first box and the score of a similarity and of the colours."""
    first = sight.first
    colours = colour_histogram(sight.frame, first.mask)
    shared = float(np.minimum(colours, target.colours).sum())
    score = (similarity + colour_weight * shared) / (1 + colour_weight)
    return replace(sight.candidate, box_xyxy=first.box_xyxy, refined_score=score, colours=shared)


def _best_tokens(
    sights: Sequence[_Sight], query_vectors: Tensor, encoder: TokenEncoder, config: RefineConfig
) -> list[_Best]:
    """The highest similarity among the tokens of each sight's zooms, and where it is."""
    zooms = [_zooms(sight, config) for sight in sights]
    pictures = [w.cut(s.frame) for s, own in zip(sights, zooms, strict=True) for w in own]
    tokens = iter(encoder.regions(pictures))
    best = []
    for sight, own in zip(sights, zooms, strict=True):
        near = config.stay_near
        limits = expand_box(sight.first.box_xyxy, near) if near > 0 else None
        seen = [_best_of(window, next(tokens), query_vectors, limits) for window in own]
        best.append(max(seen, key=lambda found: found.similarity))
    return best


def _zooms(sight: _Sight, config: RefineConfig) -> list[Crop]:
    size_hw = (sight.frame.shape[0], sight.frame.shape[1])
    box = sight.first.box_xyxy
    return list(dict.fromkeys(zoom_crop(box, size_hw, f) for f in config.crop_factors))


def _best_of(
    window: Crop, tokens: ImageTokens, query_vectors: Tensor, limits: Boxes | None
) -> _Best:
    """The best token of one zoom; those outside the limits only if all are."""
    similarity = (tokens.vectors @ query_vectors.T).amax(dim=1).cpu().numpy()
    points = window.points_to_frame(tokens.points_xy)
    if limits is not None:
        inside = ((points >= limits[:2]) & (points <= limits[2:])).all(axis=1)
        if inside.any():
            similarity = np.where(inside, similarity, -2.0)
    i = int(similarity.argmax())
    return _Best(float(similarity[i]), points[i], window)
