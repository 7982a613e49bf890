"""Is the object there at all? The best token of frames that show it and of frames that do not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eval.reid.pointing import PointingCase, box_mask
from eval.reid.protocol import (
    ReidConfig,
    Video,
    frames_for,
    gallery_places,
    query_places,
    score_gallery,
    tokenize_queries,
)
from eval.reid.tokens import Comparison, QueryKind, Tokenize, query_tokens, tokenize_crops


@dataclass(frozen=True, kw_only=True, slots=True)
class PresenceRow:
    """The best token of a frame for a query.

    Attributes:
        kind: Kind of tokens.
        query: What the query was made of.
        name: The query's name.
        present: Whether the frame shows the object.
        on_object: Whether the best token lies on it.
        similarity: Of the best token.
    """

    kind: str
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
    videos: Sequence[Video],
    tokenize: Tokenize,
    config: ReidConfig,
    comparisons: Sequence[Comparison],
) -> Iterator[PresenceRow]:
    """Best tokens of the gallery frames of the query's video, and of those of all others."""
    queries, gallery = query_places(videos, config), gallery_places(videos, config)
    scored = score_gallery(tokenize_queries(queries, tokenize, comparisons), gallery, tokenize)
    for comparison, scores in scored.items():
        for number, query in enumerate(queries):
            used, same = frames_for(query, gallery)
            for g in np.flatnonzero(used):
                yield PresenceRow(
                    kind=comparison.kind,
                    query=comparison.query,
                    name=f"{query.video.name}/{query.position}",
                    present=bool(same[g]),
                    on_object=bool(same[g] and scores.on_object[number, g]),
                    similarity=float(scores.best[number, g]),
                )


def clip_presence(
    cases: Iterable[PointingCase], tokenize: Tokenize, comparisons: Sequence[Comparison]
) -> Iterator[PresenceRow]:
    """Best tokens of frames on the query's true track and after it, seen whole and as quarters."""
    for case in cases:
        queries = query_tokens(tokenize(case.query_image), case.query_mask(), comparisons)
        nowhere = [(image, None) for image in case.absent]
        for image, box in [*case.frames, *nowhere]:
            tokens = tokenize_crops(image, tokenize)
            true = (
                np.zeros(image.shape[:2], bool) if box is None else box_mask(box, image.shape[:2])
            )
            for comparison, query in zip(comparisons, queries, strict=True):
                found = tokens[comparison.kind]
                (similarity,) = found.similarity(query[None])
                best = int(similarity.argmax())
                yield PresenceRow(
                    kind=comparison.kind,
                    query=comparison.query,
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
