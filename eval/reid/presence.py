"""Is the object there at all? The best token of frames that show it and of frames that do not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eval.reid.describe import Describe, Measure, QueryKind, describe_crops, query_tokens
from eval.reid.pointing import PointingCase, box_mask
from eval.reid.protocol import (
    ReidConfig,
    Video,
    describe_queries,
    frames_for,
    gallery_places,
    query_places,
    score_gallery,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class PresenceRow:
    """The best token of a frame for a query.

    Attributes:
        row: Name of the tokens.
        query: What the query was made of.
        name: The query's name.
        present: Whether the frame shows the object.
        on_object: Whether the best token lies on it.
        similarity: Of the best token.
    """

    row: str
    query: QueryKind
    name: str
    present: bool
    on_object: bool
    similarity: float


@dataclass(frozen=True, kw_only=True, slots=True)
class ThresholdPoint:
    """What a threshold on the best token's similarity lets through.

    Attributes:
        threshold: Least similarity.
        recall: Share of frames with the object whose best token passes and lies on it.
        false_alarms: Share of frames without the object that pass.
        precision: Share of passing frames whose best token lies on the object, where frames with
            and without the object are equally many; NaN if nothing passes.
    """

    threshold: float
    recall: float
    false_alarms: float
    precision: float


def video_presence(
    videos: Sequence[Video], describe: Describe, config: ReidConfig, measures: Sequence[Measure]
) -> Iterator[PresenceRow]:
    """Gallery frames of the query's video against those of all others."""
    queries, gallery = query_places(videos, config), gallery_places(videos, config)
    scored = score_gallery(describe_queries(queries, describe, measures), gallery, describe)
    for measure, scores in scored.items():
        for number, query in enumerate(queries):
            used, same = frames_for(query, gallery)
            for g in np.flatnonzero(used):
                yield PresenceRow(
                    row=measure.row,
                    query=measure.query,
                    name=f"{query.video.name}/{query.position}",
                    present=bool(same[g]),
                    on_object=bool(same[g] and scores.on_object[number, g]),
                    similarity=float(scores.best[number, g]),
                )


def clip_presence(
    cases: Iterable[PointingCase], describe: Describe, measures: Sequence[Measure]
) -> Iterator[PresenceRow]:
    """Frames of the query's true track against frames after it, seen whole and as quarters."""
    for case in cases:
        tokens = query_tokens(describe(case.query_image), case.query_mask(), measures)
        nowhere = [(image, None) for image in case.absent]
        for image, box in [*case.frames, *nowhere]:
            described = describe_crops(image, describe)
            true = (
                np.zeros(image.shape[:2], bool) if box is None else box_mask(box, image.shape[:2])
            )
            for measure, token in zip(measures, tokens, strict=True):
                found = described[measure.row]
                (similarity,) = found.similarity(token[None])
                best = int(similarity.argmax())
                yield PresenceRow(
                    row=measure.row,
                    query=measure.query,
                    name=case.name,
                    present=box is not None,
                    on_object=bool(found.values_of(true)[best]),
                    similarity=float(similarity[best]),
                )


def threshold_curve(
    rows: Sequence[PresenceRow], thresholds: Sequence[float]
) -> list[ThresholdPoint]:
    """Recall, false alarms and precision at every threshold; NaN where there are no frames."""
    similarity = np.array([row.similarity for row in rows])
    present = np.array([row.present for row in rows], bool)
    on_object = np.array([row.on_object for row in rows], bool)
    points = []
    for threshold in thresholds:
        passes = similarity >= threshold
        found = share(passes & on_object, present)
        elsewhere = share(passes & ~on_object, present)
        alarms = share(passes, ~present)
        passing = found + elsewhere + alarms
        points.append(
            ThresholdPoint(
                threshold=threshold,
                recall=found,
                false_alarms=alarms,
                precision=found / passing if passing > 0 else float("nan"),
            )
        )
    return points


def share(true: NDArray[np.bool_], among: NDArray[np.bool_]) -> float:
    """Share of true values among those marked; NaN if none is marked."""
    return float(true[among].mean()) if among.any() else float("nan")
