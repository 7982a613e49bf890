"""The files that a run leaves for programs: submission, traces, failures."""

from __future__ import annotations

from pathlib import Path

from ren_core.stages import write_json
from vq2d.ego4d.annotations import Annotations
from vq2d.ego4d.submission import build_submission
from vq2d.job.answers import frame_truth, in_original, load_localization, trace
from vq2d.job.task import RunReport


def write_submission(annotations: Annotations, report: RunReport, out: Path) -> Path:
    """``submission.json``: an empty prediction for every query without an answer."""
    tracks = {}
    for task in report.tasks:
        found = load_localization(task.path)
        if found.track is not None:
            tracks[task.query.key] = in_original(found.track, task)
    path = out / "submission.json"
    write_json(path, build_submission(annotations.document, tracks))
    return path


def write_traces(report: RunReport, out: Path) -> Path | None:
    """``trace.json``: what each stage knew about the truth; None if no truth is known."""
    traces = {}
    for task in report.tasks:
        truth = frame_truth(task.query, task.size_hw)
        entry = trace(load_localization(task.path), truth)
        if entry is not None:
            traces[str(task.query.key)] = entry
    path = out / "trace.json"
    if traces:
        write_json(path, traces)
    return path if traces else None


def write_failures(report: RunReport, out: Path) -> Path:
    """``failures.json``: by kind of trouble the reason for each query; an empty object if none."""
    path = out / "failures.json"
    troubles = {
        kind: {str(key): reasons[key] for key in sorted(reasons, key=str)}
        for kind, reasons in report.troubles.items()
    }
    write_json(path, troubles)
    return path
