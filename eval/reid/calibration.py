"""Thresholds of a head: from which similarity tokens are merged, and from which an object is there.

Both are properties of the encoder and the head, and do not carry over from one to another.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from eval.features import picture_key
from eval.reid.describe import Describe, Described, Descriptions, Measure, QueryKind
from eval.reid.pointing import PointingCase, PointingRow, evaluate_pointing
from eval.reid.presence import PresenceRow, clip_presence, video_presence
from eval.reid.protocol import (
    QueryRow,
    ReidConfig,
    Video,
    evaluate_retrieval,
    gallery_places,
)
from ren_core.aggregation import aggregate
from ren_core.errors import DataError
from ren_core.images import Image


@dataclass(frozen=True, kw_only=True, slots=True)
class CalibrationConfig:
    """What is tried.

    Attributes:
        rows: Kinds of tokens.
        query: What a query is made of; queries are never merged.
        similarities: Values of μ; from 1 on tokens are not merged.
        min_group: Groups of fewer prompts are dropped.
    """

    rows: tuple[str, ...]
    query: QueryKind = "centre"
    similarities: tuple[float, ...] = (0.6, 0.8, 0.9, 0.92, 0.94, 0.95, 0.96, 0.97, 0.98, 0.99, 1.0)
    min_group: int = 3

    def measures(self) -> list[Measure]:
        """The rows as they are."""
        return [Measure(row, self.query) for row in self.rows]

    def merged_measures(self) -> list[Measure]:
        """The rows merged at every similarity."""
        return [
            Measure(merged_name(row, similarity), self.query)
            for row in self.rows
            for similarity in self.similarities
        ]


@dataclass(frozen=True, kw_only=True, slots=True)
class MergePoint:
    """What merging from one similarity on does to one kind of tokens.

    Attributes:
        row: Kind of tokens.
        similarity: The value of μ.
        regions: Mean number per frame.
        low: A tenth of the frames have at most so many.
        high: A tenth of the frames have at least so many.
        on_object: Share of frames with the object whose best region's point lies on it.
    """

    row: str
    similarity: float
    regions: float
    low: float
    high: float
    on_object: float


@dataclass(frozen=True, slots=True)
class SetCalibration:
    """Measurements on one set of data."""

    merging: list[MergePoint]
    presence: list[PresenceRow]


def remembered(describe: Describe, pictures: int) -> Describe:
    """The same tokens, those of the last so many pictures at hand."""
    held: OrderedDict[str, Descriptions] = OrderedDict()

    def recall(image: Image) -> Descriptions:
        key = picture_key(image)
        held[key] = held.pop(key) if key in held else describe(image)
        if len(held) > pictures:
            held.popitem(last=False)
        return held[key]

    return recall


def merged_name(row: str, similarity: float) -> str:
    """Name of a row after merging.

    >>> merged_name("patch", 0.95)
    'patch@0.95'
    """
    return f"{row}@{similarity:g}"


def merged(describe: Describe, similarities: Sequence[float], min_group: int) -> Describe:
    """Region tokens of every row and merge similarity, at the regions' most central points."""

    def describe_regions(image: Image) -> Descriptions:
        return {
            merged_name(row, similarity): merge(found, similarity, min_group)
            for row, found in describe(image).items()
            for similarity in similarities
        }

    return describe_regions


def not_merged(describe: Describe, similarities: Sequence[float]) -> Describe:
    """The tokens as they are under the names of the merged rows: what queries are made of."""

    def describe_prompts(image: Image) -> Descriptions:
        found = describe(image)
        return {merged_name(row, s): found[row] for row in found for s in similarities}

    return describe_prompts


def merge(found: Described, similarity: float, min_group: int) -> Described:
    """One token per group of linked tokens; from similarity 1 on the tokens as they are."""
    if similarity >= 1:
        return found
    groups = aggregate(found.tokens, torch.from_numpy(found.points_yx), similarity, min_group)
    return Described(groups.tokens, groups.points_yx.numpy())


def count_regions(
    frames: Iterable[Image], describe: Describe, config: CalibrationConfig
) -> dict[Measure, list[int]]:
    """Regions of every frame, for every row and merge similarity."""
    counts: dict[Measure, list[int]] = {measure: [] for measure in config.merged_measures()}
    regions_of = merged(describe, config.similarities, config.min_group)
    for image in frames:
        regions = regions_of(image)
        for measure, own in counts.items():
            own.append(len(regions[measure.row].tokens))
    return counts


def merge_points(
    regions: Mapping[Measure, Sequence[int]],
    found: Sequence[QueryRow] | Sequence[PointingRow],
    config: CalibrationConfig,
) -> list[MergePoint]:
    """Summaries of counts per frame, and of the figures per query, of all merged rows.

    Raises:
        DataError: If there are no frames.
    """
    if not all(regions.values()):
        raise DataError("no frame shows an object whose place is known; choose a set with tracks")
    points = []
    for row in config.rows:
        for similarity in config.similarities:
            measure = Measure(merged_name(row, similarity), config.query)
            own = [r for r in found if r.row == measure.row]
            shares = [r.pointing if isinstance(r, QueryRow) else r.hits for r in own]
            low, high = np.percentile(regions[measure], (10, 90))
            points.append(
                MergePoint(
                    row=row,
                    similarity=similarity,
                    regions=float(np.mean(regions[measure])),
                    low=float(low),
                    high=float(high),
                    on_object=float(np.nanmean(shares)),
                )
            )
    return points


def calibrate_videos(
    videos: Sequence[Video], describe: Describe, config: CalibrationConfig
) -> SetCalibration:
    """Count, retrieve and separate on the gallery frames of videos."""
    protocol = ReidConfig()
    places = gallery_places(videos, protocol)
    regions = count_regions((place.image() for place in places), describe, config)
    found = evaluate_retrieval(
        videos,
        merged(describe, config.similarities, config.min_group),
        protocol,
        config.merged_measures(),
        describe_query=not_merged(describe, config.similarities),
    )
    presence = list(video_presence(videos, describe, protocol, config.measures()))
    return SetCalibration(merge_points(regions, found, config), presence)


def calibrate_clips(
    cases: Iterable[PointingCase], describe: Describe, config: CalibrationConfig
) -> SetCalibration:
    """Count, point and separate, case by case, so that few pictures need to be remembered."""
    merge_frame = merged(describe, config.similarities, config.min_group)
    keep_query = not_merged(describe, config.similarities)
    regions: dict[Measure, list[int]] = {measure: [] for measure in config.merged_measures()}
    found: list[PointingRow] = []
    presence: list[PresenceRow] = []
    for case in cases:
        counted = count_regions((image for image, _ in case.frames), describe, config)
        for measure, counts in counted.items():
            regions[measure] += counts
        found += evaluate_pointing(
            [case], merge_frame, config.merged_measures(), describe_query=keep_query
        )
        presence += clip_presence([case], describe, config.measures())
    return SetCalibration(merge_points(regions, found, config), presence)
