"""Which queries are lost, and where: figures of subsets, and the stage that lost each query."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields

from ren_core.errors import DataError
from vq2d.ego4d.documents import Document
from vq2d.scoring.metrics import QueryResult, compute

ANNOTATION_FPS = 5
FOUND_IOU = 0.25  # tube overlap that the leaderboard counts
SEED_IOU = 0.5  # box overlap below which a track starts from a wrong box

FOUND = "found"
LOSSES = ("not among candidates", "candidate not chosen", "box wrong", "track wrong", FOUND)
NO_TRACE = "no trace"


@dataclass(frozen=True, slots=True)
class Binning:
    """A property of queries and the bins it is cut into.

    Attributes:
        name: What is measured.
        value: The measure of one query; NaN if it is unknown.
        edges: Ascending inner edges; a value equal to an edge belongs to the bin above.
        labels: One label per bin, one more than there are edges.
    """

    name: str
    value: Callable[[QueryResult], float]
    edges: tuple[float, ...]
    labels: tuple[str, ...]

    def label(self, row: QueryResult) -> str:
        """The bin of a query, or "unknown"."""
        value = self.value(row)
        if math.isnan(value):
            return "unknown"
        return self.labels[sum(value >= edge for edge in self.edges)]


@dataclass(frozen=True, slots=True)
class Group:
    """The figures of the queries in one bin; NaN where the bin is empty."""

    split: str
    label: str
    count: int
    figures: dict[str, float]


BINNINGS = (
    Binning("track length", lambda r: r.gt_frames, (6, 16), ("1-5 frames", "6-15", "16 and more")),
    Binning(
        "object size",
        lambda r: 100 * r.size_fraction,
        (10, 20),
        ("under 10 % of frame", "10-20 %", "20 % and more"),
    ),
    Binning(
        "before the query",
        lambda r: r.frames_before_query / ANNOTATION_FPS,
        (5, 20),
        ("under 5 s", "5-20 s", "20 s and more"),
    ),
    Binning(
        "searched",
        lambda r: r.searched_frames / ANNOTATION_FPS,
        (30, 60, 150),
        ("under 30 s", "30-60 s", "60-150 s", "150 s and more"),
    ),
)


def breakdown(rows: Sequence[QueryResult], binnings: Sequence[Binning] = BINNINGS) -> list[Group]:
    """The six figures of every bin of every property; each bin is ranked on its own."""
    groups = []
    for binning in binnings:
        labels = [binning.label(row) for row in rows]
        unknown = ("unknown",) if "unknown" in labels else ()
        for label in (*binning.labels, *unknown):
            members = [row for row, its in zip(rows, labels, strict=True) if its == label]
            groups.append(Group(binning.name, label, len(members), compute(members)))
    return groups


@dataclass(frozen=True, slots=True)
class Trace:
    """What a run knew about the truth of one query, stage by stage.

    Attributes:
        best_frame_in_truth: The most similar frame lies in the true track.
        candidate_in_truth: Some candidate does.
        tracked_candidate_in_truth: The candidate that was tracked does.
        seed_box_iou: Overlap of the box it was tracked from with the true one, if there is one.
        reason: Why the run decided so, in its own words.
    """

    best_frame_in_truth: bool
    candidate_in_truth: bool
    tracked_candidate_in_truth: bool
    seed_box_iou: float | None
    reason: str


def read_traces(document: Document) -> dict[str, Trace]:
    """Traces by ``str(QueryKey)`` from their JSON form.

    Raises:
        DataError: If an entry lacks a key, has another one, or holds a value of another type.
    """
    names = [field.name for field in fields(Trace)]
    traces = {}
    for key, entry in document.items():
        if not isinstance(entry, Mapping) or set(entry) != set(names):
            raise DataError(f"trace {key!r} must be an object with exactly {', '.join(names)}")
        trace = Trace(**entry)
        flags = (trace.best_frame_in_truth, trace.candidate_in_truth)
        numeric = trace.seed_box_iou is None or isinstance(trace.seed_box_iou, int | float)
        if not all(isinstance(f, bool) for f in (*flags, trace.tracked_candidate_in_truth)):
            raise DataError(f"trace {key!r}: the three '..._in_truth' must be true or false")
        if not numeric or not isinstance(trace.reason, str):
            raise DataError(f"trace {key!r}: seed_box_iou must be a number or null, reason text")
        traces[key] = trace
    return traces


def lost_at(row: QueryResult, trace: Trace) -> str:
    """The first stage that lost a query, or "found" if its tube overlaps the true one by 0.25."""
    if row.st_iou >= FOUND_IOU:
        return FOUND
    if not trace.tracked_candidate_in_truth:
        return LOSSES[1] if trace.candidate_in_truth else LOSSES[0]
    return LOSSES[2] if (trace.seed_box_iou or 0.0) < SEED_IOU else LOSSES[3]


def count_losses(rows: Sequence[QueryResult], traces: Mapping[str, Trace]) -> dict[str, int]:
    """How many queries each stage lost, in the order of the stages; "no trace" only if any.

    Raises:
        DataError: If a trace belongs to none of the queries.
    """
    unknown = sorted(traces.keys() - {str(row.key) for row in rows})
    if unknown:
        raise DataError(
            f"{len(unknown)} traces belong to no query, the first is {unknown[0]!r}; "
            "give the trace file of the run that wrote the predictions"
        )
    by_key = {row.key: traces.get(str(row.key)) for row in rows}
    counts = Counter(
        NO_TRACE if (trace := by_key[row.key]) is None else lost_at(row, trace) for row in rows
    )
    names = (*LOSSES, NO_TRACE) if counts[NO_TRACE] else LOSSES
    return {name: counts[name] for name in names}
