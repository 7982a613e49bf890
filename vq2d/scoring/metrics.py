"""The six official VQ2D figures, and the row per query that they are made of.

Written to give the official evaluator's figures to the last digit, its peculiarities included:
areas are signed, frame ranges inclusive, ties broken by file order with the later query first.
Everything is Python's float arithmetic on purpose: float32 boxes would move overlaps across
thresholds. Where the official evaluator breaks, a ``DataError`` says on which query and why.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ren_core.errors import DataError
from vq2d.ego4d.documents import (
    AnnotatedQuery,
    Document,
    has_truth,
    load_document,
    predicted_track,
    prediction_path,
    valid_query_sets,
)
from vq2d.ego4d.validation import validate
from vq2d.scoring.tubes import Box, Tube, box_area, recovered_frames, temporal_iou, tube_iou
from vq2d.types import QueryKey

logger = logging.getLogger(__name__)

METRICS = ("tAP", "tAP25", "stAP", "stAP25", "success", "recovery")
AP_THRESHOLDS = (0.25, 0.5, 0.75, 0.95)
SUCCESS_THRESHOLD = 0.05
RECOVERY_THRESHOLD = 0.5
MAX_AREA = 1e10  # px; the official "all" range of areas is [0, 1e10)


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryResult:
    """How well one query was answered.

    Attributes:
        key: Place of the query in the annotation file.
        clip_uid: The query's clip, if it has a uid.
        score: What the query is ranked by.
        t_iou: Overlap of the frame ranges.
        st_iou: Overlap of the tubes.
        success: Whether ``st_iou`` reaches 0.05.
        recovered_frames: True frames whose predicted box has IoU >= 0.5.
        gt_frames: Length of the true track.
        predicted_frames: Length of the predicted track, 0 for an empty one.
        gt_max_area: Largest true box, px.
        crop_area: Area of the visual crop, px.
        size_fraction: sqrt(mean true box area / frame area); NaN if the frame size is not given.
        frames_before_query: Query frame minus last true frame; NaN if no query frame is given.
        searched_frames: Frames before the query frame; NaN if no query frame is given.
    """

    key: QueryKey
    clip_uid: str | None
    score: float
    t_iou: float
    st_iou: float
    success: bool
    recovered_frames: int
    gt_frames: int
    predicted_frames: int
    gt_max_area: float
    crop_area: float
    size_fraction: float
    frames_before_query: float
    searched_frames: float


@dataclass(frozen=True, slots=True)
class PartialScores:
    """The rows of those queries that can be scored, and why the others cannot."""

    rows: list[QueryResult]
    left_out: dict[QueryKey, str]


def evaluate(
    predictions: str | Path | Document, annotations: str | Path | Document
) -> dict[str, float]:
    """The six official figures of a submission.

    Args:
        predictions: Submission, as a path or loaded.
        annotations: Annotation file with response tracks, as a path or loaded.

    Returns:
        ``tAP tAP25 stAP stAP25`` in 0..1, ``success`` and ``recovery`` in percent; all NaN if
        the annotation file has no valid query, which the official evaluator skips in silence.

    Raises:
        DataError: If a file is damaged or the official evaluator would break on it.
    """
    return compute(per_query(predictions, annotations))


def compute(rows: Sequence[QueryResult]) -> dict[str, float]:
    """The six figures over any set of queries; all NaN over none."""
    if not rows:
        return dict.fromkeys(METRICS, math.nan)
    scores = [row.score for row in rows]
    temporal = [average_precision(scores, [r.t_iou for r in rows], t) for t in AP_THRESHOLDS]
    tube = [average_precision(scores, [r.st_iou for r in rows], t) for t in AP_THRESHOLDS]
    recovered = sum(row.recovered_frames for row in rows)
    return {
        "tAP": float(np.mean(temporal)),
        "tAP25": temporal[0],
        "stAP": float(np.mean(tube)),
        "stAP25": tube[0],
        "success": 100.0 * float(np.mean([row.success for row in rows])),
        "recovery": 100.0 * recovered / sum(row.gt_frames for row in rows),
    }


def per_query(
    predictions: str | Path | Document, annotations: str | Path | Document
) -> list[QueryResult]:
    """One row for every valid query, in the order of the annotation file.

    Args and errors are those of ``evaluate``. A query whose visual crop or largest true box has
    an area outside [0, 1e10) px is left out, as officially, and named in a warning.
    """
    submission, truth = load_document(predictions), load_document(annotations)
    _check_form(submission, truth)
    queries = list(valid_query_sets(truth))
    if queries and not has_truth(queries):
        raise DataError(
            "the annotation file has no response tracks, as on the test split; "
            "score against an annotated split, or only validate"
        )
    tracks = [predicted_track(submission, query.key) for query in queries]
    scores = _numeric_scores([track["score"] for track in tracks])
    rows = map(_row, queries, tracks, scores)
    return [row for row in rows if row is not None]


def usable_rows(submission: Document, queries: Sequence[AnnotatedQuery]) -> PartialScores:
    """Rows of some queries as in ``per_query``, but a query with damaged truth is only left out.

    Args:
        submission: One that ``validate`` found in order.
        queries: Those to score.
    """
    tracks = [predicted_track(submission, query.key) for query in queries]
    scores = _numeric_scores([track["score"] for track in tracks])
    rows: list[QueryResult] = []
    left_out: dict[QueryKey, str] = {}
    for query, track, score in zip(queries, tracks, scores, strict=True):
        try:
            row = _row(query, track, score)
        except DataError as err:
            left_out[query.key] = str(err)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as err:
            left_out[query.key] = f"its truth is damaged ({type(err).__name__}: {err})"
        else:
            if row is None:
                left_out[query.key] = "its crop or a true box has an area that is not scored"
            else:
                rows.append(row)
    return PartialScores(rows, left_out)


def _check_form(submission: Document, annotations: Document) -> None:
    """Raise DataError with the first error of a submission, if there is one."""
    for problem in validate(submission, annotations):
        if problem.severity == "error":
            raise DataError(f"the submission cannot be scored: {problem.path}: {problem.message}")


def average_precision(scores: Sequence[float], ious: Sequence[float], threshold: float) -> float:
    """Area under the precision envelope (VOC 2011) with one prediction per query.

    Args:
        scores: (Q,) what the predictions are ranked by.
        ious: (Q,) overlap of each with its query's truth; NaN counts as a hit, as officially.
        threshold: Overlap from which on a prediction is a hit.

    Returns:
        Average precision over Q queries, in 0..1.

    >>> average_precision([0.9, 0.8], [0.0, 1.0], 0.5)
    0.25
    """
    # Reversing an ascending stable sort is the official order, ties and NaN (first) included.
    order = np.argsort(np.asarray(scores, np.float64), kind="stable")[::-1]
    hits = ~(np.asarray(ious, np.float64)[order] < threshold)
    true_positives = np.cumsum(hits)
    precision = true_positives / np.arange(1, len(hits) + 1)
    envelope: NDArray[np.float64] = np.maximum.accumulate(precision[::-1])[::-1]
    # Recall rises by 1/Q at every hit and nowhere else.
    return float(np.sum(envelope[hits]) / len(hits))


def _row(query: AnnotatedQuery, track: Document, score: float) -> QueryResult | None:
    """Score one query; None if its areas are outside the official range."""
    where = prediction_path(query.key)
    truth = _true_tube(query)
    predicted = Tube.from_pairs(
        (box["fno"], (box["x1"], box["y1"], box["x2"], box["y2"])) for box in track["bboxes"]
    )
    crop_area = _crop_area(query)
    max_area = float(np.max([abs(box_area(box)) for box in truth.boxes]))
    if not (0 <= crop_area < MAX_AREA and 0 <= max_area < MAX_AREA):
        logger.warning("%s is left out: crop %s px, truth %s px", where, crop_area, max_area)
        return None
    try:
        st_iou = tube_iou(predicted, truth)
        recovered = recovered_frames(predicted, truth, RECOVERY_THRESHOLD)
    except ZeroDivisionError as err:
        raise DataError(
            f"{where}: the overlap is undefined because predicted and true areas add up to zero "
            "(no area, or an inverted box); write boxes with x1 < x2 and y1 < y2"
        ) from err
    asked_at = query.query_set.get("query_frame")
    searched = float(asked_at) if isinstance(asked_at, int | float) else math.nan
    return QueryResult(
        key=query.key,
        clip_uid=query.clip_uid,
        score=score,
        t_iou=temporal_iou(predicted, truth),
        st_iou=st_iou,
        success=st_iou >= SUCCESS_THRESHOLD,
        recovered_frames=recovered,
        gt_frames=len(truth.frames),
        predicted_frames=len(predicted.frames),
        gt_max_area=max_area,
        crop_area=crop_area,
        size_fraction=_size_fraction(query.query_set["response_track"]),
        frames_before_query=searched - truth.extent[1],
        searched_frames=searched,
    )


def _true_tube(query: AnnotatedQuery) -> Tube:
    """The response track of an annotated query."""
    entries = query.query_set.get("response_track")
    if not entries:
        raise DataError(
            f"query {query.key} is valid but has no response track; mark it invalid or complete it"
        )
    try:
        return Tube.from_pairs((entry["frame_number"], _corners(entry)) for entry in entries)
    except (KeyError, TypeError) as err:
        raise DataError(
            f"the response track of query {query.key} is damaged ({type(err).__name__}: {err}); "
            "expected frame_number, x, y, width, height in every entry"
        ) from err
    except DataError as err:
        raise DataError(f"the true track of query {query.key}: {err}") from err


def _corners(entry: Document) -> Box:
    """The xyxy box of an annotated x, y, width, height."""
    x, y = entry["x"], entry["y"]
    return (x, y, x + entry["width"], y + entry["height"])


def _crop_area(query: AnnotatedQuery) -> float:
    """Area of the visual crop in px."""
    try:
        return abs(box_area(_corners(query.query_set["visual_crop"])))
    except (KeyError, TypeError) as err:
        raise DataError(
            f"the visual crop of query {query.key} is missing or damaged "
            f"({type(err).__name__}: {err}); expected x, y, width, height"
        ) from err


def _size_fraction(entries: Sequence[Document]) -> float:
    """Side of a square as large as the mean box, relative to that of one as large as the frame."""
    fractions = [
        abs(box_area(_corners(entry))) / (entry["original_width"] * entry["original_height"])
        for entry in entries
        if entry.get("original_width") and entry.get("original_height")
    ]
    return math.sqrt(sum(fractions) / len(fractions)) if fractions else math.nan


def _numeric_scores(scores: Sequence[float | str]) -> list[float]:
    """Scores as numbers; a file with text for scores is ranked as text, as officially."""
    if not any(isinstance(score, str) for score in scores):
        return [float(score) for score in scores]
    ranks = {score: float(rank) for rank, score in enumerate(sorted(map(str, set(scores))))}
    return [ranks[str(score)] for score in scores]
