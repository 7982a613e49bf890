"""The files that a run leaves for programs: submission, traces, failures."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from ren_core.stages import write_json
from vq2d.ego4d.annotations import Annotations
from vq2d.ego4d.documents import Document
from vq2d.ego4d.parts import part_of
from vq2d.ego4d.submission import build_submission
from vq2d.job.task import Answer, RunReport
from vq2d.job.traces import trace_of
from vq2d.scoring.breakdown import Trace
from vq2d.types import QueryKey, ResponseTrack


def write_submission(
    annotations: Annotations,
    answers: Sequence[Answer],
    out: Path,
    part: Collection[QueryKey] | None = None,
) -> Document:
    """``submission.json``: an empty prediction for every query without an answer.

    Args:
        annotations: What was asked.
        answers: What was found.
        out: Folder of the file.
        part: The queries of a shard: ``part.json`` with these is written in its place.

    Returns:
        The submission, also of a shard with all queries.
    """
    found = {answer.task.key: answer.original_track for answer in answers}
    tracks = {key: track for key, track in found.items() if track is not None}
    if part is None:
        return write_tracks(annotations, tracks, out / "submission.json")
    submission = build_submission(annotations.document, tracks)
    write_json(out / "part.json", part_of(submission, part))
    return submission


def write_tracks(
    annotations: Annotations, tracks: Mapping[QueryKey, ResponseTrack], path: Path
) -> Document:
    """A submission of tracks in original pixels; an empty prediction for every other query."""
    submission = build_submission(annotations.document, tracks)
    write_json(path, submission)
    return submission


def write_traces(answers: Sequence[Answer], out: Path) -> Mapping[str, Trace]:
    """``trace.json``: what each stage knew, by query; no file if no truth is known."""
    known = {str(answer.task.key): trace_of(answer) for answer in answers}
    traces = {key: trace for key, trace in known.items() if trace is not None}
    if traces:
        write_json(out / "trace.json", {key: asdict(trace) for key, trace in traces.items()})
    return traces


def write_failures(report: RunReport, out: Path) -> None:
    """``failures.json``: by kind of trouble the reason for each query; an empty object if none."""
    troubles = {
        kind: {str(key): reasons[key] for key in sorted(reasons, key=str)}
        for kind, reasons in report.troubles.items()
    }
    write_json(out / "failures.json", troubles)
