"""Thresholds of a head: from which similarity tokens are merged, and from which an object is there.

Both are properties of the encoder and the head, and do not carry over from one to another.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from pydantic import Field

from eval.features import picture_key
from eval.reid.pointing import PointingCase, PointingRow, evaluate_pointing
from eval.reid.presence import PresenceRow, clip_presence, video_presence
from eval.reid.protocol import (
    QueryRow,
    ReidConfig,
    Video,
    evaluate_retrieval,
    gallery_places,
)
from eval.reid.tokens import Comparison, PointTokens, QueryKind, Tokenize, TokensByKind
from ren_core.aggregation import aggregate
from ren_core.configuration import Cosine, Count, configuration
from ren_core.errors import DataError
from ren_core.images import Image

SIMILARITIES = (0.6, 0.8, 0.9, 0.92, 0.94, 0.95, 0.96, 0.97, 0.98, 0.99, 1.0)


@configuration()
class CalibrationConfig:
    """What is tried.

    Attributes:
        kinds: Kinds of tokens.
        query: What a query is made of; queries are never merged.
        similarities: Values of μ; from 1 on tokens are not merged.
        min_group: Groups of fewer prompts are dropped.
    """

    kinds: tuple[str, ...]
    query: QueryKind = "centre"
    similarities: Annotated[tuple[Cosine, ...], Field(min_length=1)] = SIMILARITIES
    min_group: Count = 3

    def comparisons(self) -> list[Comparison]:
        """Every kind of tokens as it is."""
        return [Comparison(kind, self.query) for kind in self.kinds]

    def merged_comparisons(self) -> list[Comparison]:
        """Every kind of tokens merged at every similarity."""
        return [
            Comparison(merged_name(kind, similarity), self.query)
            for kind in self.kinds
            for similarity in self.similarities
        ]


@dataclass(frozen=True, kw_only=True, slots=True)
class MergePoint:
    """What merging from one similarity on does to one kind of tokens.

    Attributes:
        kind: Kind of tokens.
        similarity: The value of μ.
        regions: Mean number per frame.
        low: A tenth of the frames have at most so many.
        high: A tenth of the frames have at least so many.
        on_object: Share of frames with the object whose best region's point lies on it.
    """

    kind: str
    similarity: float
    regions: float
    low: float
    high: float
    on_object: float


@dataclass(frozen=True, slots=True)
class SetCalibration:
    """What was found on one set of data."""

    merging: list[MergePoint]
    presence: list[PresenceRow]


def remembered(tokenize: Tokenize, pictures: int) -> Tokenize:
    """Keep the tokens of the pictures that were asked for last, so that they are made once."""
    held: OrderedDict[str, TokensByKind] = OrderedDict()

    def recall(image: Image) -> TokensByKind:
        key = picture_key(image)
        held[key] = held.pop(key) if key in held else tokenize(image)
        if len(held) > pictures:
            held.popitem(last=False)
        return held[key]

    return recall


def merged_name(kind: str, similarity: float) -> str:
    """Name of a kind of tokens after merging.

    >>> merged_name("patch", 0.95)
    'patch@0.95'
    """
    return f"{kind}@{similarity:g}"


def merged(tokenize: Tokenize, similarities: Sequence[float], min_group: int) -> Tokenize:
    """Makes tokens merged into regions, each at its region's most central point."""

    def tokenize_regions(image: Image) -> TokensByKind:
        return {
            merged_name(kind, similarity): merge(found, similarity, min_group)
            for kind, found in tokenize(image).items()
            for similarity in similarities
        }

    return tokenize_regions


def not_merged(tokenize: Tokenize, similarities: Sequence[float]) -> Tokenize:
    """Makes tokens that are not merged, under the names of the merged ones; for queries."""

    def tokenize_prompts(image: Image) -> TokensByKind:
        found = tokenize(image)
        return {merged_name(kind, s): found[kind] for kind in found for s in similarities}

    return tokenize_prompts


def merge(found: PointTokens, similarity: float, min_group: int) -> PointTokens:
    """One token per group of linked tokens; from similarity 1 on the tokens as they are."""
    if similarity >= 1:
        return found
    groups = aggregate(found.tokens, torch.from_numpy(found.points_yx), similarity, min_group)
    return PointTokens(groups.tokens, groups.points_yx.numpy())


def count_regions(
    frames: Iterable[Image], tokenize: Tokenize, config: CalibrationConfig
) -> dict[Comparison, list[int]]:
    """Number of regions of every frame, for every kind of tokens and merge similarity."""
    counts: dict[Comparison, list[int]] = {c: [] for c in config.merged_comparisons()}
    regions_of = merged(tokenize, config.similarities, config.min_group)
    for image in frames:
        regions = regions_of(image)
        for comparison, own in counts.items():
            own.append(len(regions[comparison.kind].tokens))
    return counts


def merge_points(
    regions: Mapping[Comparison, Sequence[int]],
    found: Sequence[QueryRow] | Sequence[PointingRow],
    config: CalibrationConfig,
) -> list[MergePoint]:
    """Summarise counts per frame and figures per query, for every kind and merge similarity.

    Raises:
        DataError: If there are no frames.
    """
    if not all(regions.values()):
        raise DataError("no frame shows an object whose place is known; choose a set with tracks")
    points = []
    for kind in config.kinds:
        for similarity in config.similarities:
            comparison = Comparison(merged_name(kind, similarity), config.query)
            own = [r for r in found if r.kind == comparison.kind]
            shares = [r.pointing if isinstance(r, QueryRow) else r.hits for r in own]
            low, high = np.percentile(regions[comparison], (10, 90))
            points.append(
                MergePoint(
                    kind=kind,
                    similarity=similarity,
                    regions=float(np.mean(regions[comparison])),
                    low=float(low),
                    high=float(high),
                    on_object=float(np.nanmean(shares)),
                )
            )
    return points


def calibrate_videos(
    videos: Sequence[Video], tokenize: Tokenize, config: CalibrationConfig
) -> SetCalibration:
    """Count regions, retrieve frames and tell present from absent, on gallery frames of videos."""
    protocol = ReidConfig()
    places = gallery_places(videos, protocol)
    regions = count_regions((place.image() for place in places), tokenize, config)
    found = evaluate_retrieval(
        videos,
        merged(tokenize, config.similarities, config.min_group),
        protocol,
        config.merged_comparisons(),
        tokenize_query=not_merged(tokenize, config.similarities),
    )
    presence = list(video_presence(videos, tokenize, protocol, config.comparisons()))
    return SetCalibration(merge_points(regions, found, config), presence)


def calibrate_clips(
    cases: Iterable[PointingCase], tokenize: Tokenize, config: CalibrationConfig
) -> SetCalibration:
    """Count regions, point and tell present from absent; case by case, to keep few pictures."""
    merge_frame = merged(tokenize, config.similarities, config.min_group)
    keep_query = not_merged(tokenize, config.similarities)
    regions: dict[Comparison, list[int]] = {c: [] for c in config.merged_comparisons()}
    found: list[PointingRow] = []
    presence: list[PresenceRow] = []
    for case in cases:
        counted = count_regions((image for image, _ in case.frames), tokenize, config)
        for comparison, counts in counted.items():
            regions[comparison] += counts
        found += evaluate_pointing(
            [case], merge_frame, config.merged_comparisons(), tokenize_query=keep_query
        )
        presence += clip_presence([case], tokenize, config.comparisons())
    return SetCalibration(merge_points(regions, found, config), presence)
