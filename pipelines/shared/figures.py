"""The instrument: one preset on all sets, with what it costs and what its score knows."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ren_core.errors import DataError
from ren_core.executor.here import InProcess
from ren_core.stages import write_json
from vq2d.ego4d.annotations import Annotations, annotation_path, load_annotations
from vq2d.job.absence import absent_pairs, choose, load_absence, present_pairs
from vq2d.job.answerer import Answerer, ClipFiles
from vq2d.job.asking import ask_pairs
from vq2d.job.outputs import write_failures, write_submission, write_traces
from vq2d.job.runner import Runner
from vq2d.job.task import RunCost, RunReport
from vq2d.localize.build import masking_weights
from vq2d.localize.localizer import Localizer
from vq2d.scoring.breakdown import Trace, read_traces
from vq2d.scoring.metrics import QueryResult, per_query, usable_rows
from vq2d.scoring.presence import AskedRow

CHOOSING = ("synvq_dev", "realvq_dev", "made_dev", "long_dev", "holdout")
"""Values of presets are chosen on these."""
REPORTING = ("made_test", "long_test", "holdout2", "sample")
"""These are looked at once, at the end of a piece of work, and nothing is chosen on them."""
PRESENCE_ONLY = ("davis_dev",)
"""Its things hardly ever leave the picture: good for present against absent, and for no more."""

ROOTS = ("runs/sets", "data", "../shared/data")
ABSENT_LISTS = Path(__file__).resolve().parents[2] / "tools" / "absent"


@dataclass(frozen=True, slots=True)
class DataSet:
    """A set in VQ2D form.

    Attributes:
        name: As in ``CHOOSING`` and its like.
        root: Its folder, in the ego4d CLI's layout.
        annotations: Its val split.
    """

    name: str
    root: Path
    annotations: Annotations

    @property
    def absence_file(self) -> Path | None:
        """Where it says what every clip shows; None if that is not known."""
        places = (self.root / "absent.json", ABSENT_LISTS / f"{self.name}.json")
        return next((place for place in places if place.is_file()), None)


@dataclass(frozen=True, slots=True)
class SetFigures:
    """What was measured on one set.

    Attributes:
        name: Of the set.
        rows: One per query with a known truth; none for sets that only test presence.
        traces: What each stage knew, by query.
        asked: Questions about present and absent things.
        cost: Of the run that answered; None if everything came from a cache and no earlier run of
            this folder says.
        failed: Number of queries and questions that could not be answered.
    """

    name: str
    rows: list[QueryResult]
    traces: Mapping[str, Trace]
    asked: list[AskedRow]
    cost: RunCost | None
    failed: int


def add_roots(parser: argparse.ArgumentParser) -> None:
    """Where ``find_set`` looks."""
    parser.add_argument(
        "--roots",
        nargs="+",
        type=Path,
        default=[Path(root) for root in ROOTS],
        help=f"folders that hold a folder per set ({' '.join(ROOTS)})",
    )


def find_set(name: str, roots: Sequence[Path]) -> DataSet | None:
    """A set by its name, in the first of some folders that has it; None if none has."""
    for root in roots:
        try:
            path = annotation_path(root / name, "val")
        except DataError:  # none there, or a set that is still being rendered
            continue
        return DataSet(name, root / name, load_annotations(path))
    return None


def answerer_of(
    data: DataSet, localizer: Localizer, *, cache: Path, keep_tokens_of: str | None
) -> Answerer:
    """What answers the queries of a set, with the loaded models."""
    return Answerer(
        ClipFiles(data.root),
        localizer,
        cache=cache,
        weights=masking_weights(localizer),
        keep_tokens_of=keep_tokens_of,
    )


def measure(
    data: DataSet,
    localizer: Localizer,
    *,
    cache: Path,
    out: Path,
    absent_per_query: int,
    keep_tokens_of: str | None = None,
) -> SetFigures:
    """Answer a set, ask its absent questions, and keep what was found in ``out``.

    Args:
        data: The set.
        localizer: The loaded models.
        cache: Folder of tokens and answers.
        out: Folder of this set's results: submission.json, trace.json, failures.json, cost.json,
            presence.json.
        absent_per_query: Most clips without its thing that a query is asked of; 0: presence is not
            tested.
        keep_tokens_of: Digest of older code whose tokens shall be used.
    """
    answerer = answerer_of(data, localizer, cache=cache, keep_tokens_of=keep_tokens_of)
    rows: list[QueryResult] = []
    traces: Mapping[str, Trace] = {}
    cost, failed = None, 0
    if data.name not in PRESENCE_ONLY:
        report = Runner(data.annotations, answerer.files, InProcess(answerer), cache=cache).run()
        submission = write_submission(data.annotations, report.answers, out)
        traces = write_traces(report.answers, out)
        write_failures(report, out)
        rows = usable_rows(submission, data.annotations.query_sets).rows
        cost, failed = _cost(report, out / "cost.json"), len(report.asked) - len(report.answers)
    asked = []
    if data.absence_file is not None and absent_per_query:
        absence = load_absence(data.absence_file)
        pairs = choose(absent_pairs(absence, data.annotations), absent_per_query)
        found = ask_pairs(answerer, [*present_pairs(absence, data.annotations), *pairs])
        asked, failed = found.rows, failed + len(found.failures)
        write_json(out / "presence.json", [asdict(row) for row in asked])
    return SetFigures(data.name, rows, traces, asked, cost, failed)


def load_rows(data: DataSet, out: Path) -> list[QueryResult]:
    """The rows of an earlier run of ``measure``.

    Raises:
        DataError: If it has no submission of this set, or one for other annotations.
    """
    path = out / "submission.json"
    if not path.is_file():
        raise DataError(f"no {path}: compare with a run that answered {data.name}")
    return per_query(path, data.annotations.document)


def load_traces(out: Path) -> Mapping[str, Trace]:
    """The traces of an earlier run; none if it wrote none."""
    path = out / "trace.json"
    return read_traces(json.loads(path.read_text())) if path.is_file() else {}


def _cost(report: RunReport, path: Path) -> RunCost | None:
    """What this run took or, if it had nothing to do, what the last one says that had."""
    if report.cost.queries:
        write_json(path, asdict(report.cost))
        return report.cost
    return RunCost(**json.loads(path.read_text())) if path.is_file() else None
