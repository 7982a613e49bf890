"""Ask queries of clips that show their thing and of clips that do not: the evidence for each.

Frames and tokens are of one clip at a time, and every answer is kept on disk. Whatever goes wrong
with one clip or question is recorded, and the others go on.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np

from ren_core.progress import tqdm
from ren_core.stages import open_stage, write_json
from vq2d.job.absence import Pair
from vq2d.job.answerer import Answerer
from vq2d.job.task import FaultWatch
from vq2d.localize.chunks import Chunk
from vq2d.localize.localizer import Localizer, question_of
from vq2d.localize.presence import probability
from vq2d.scoring.presence import AskedRow
from vq2d.types import FrameSource, Question

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class AskReport:
    """What was asked, and what went wrong.

    Attributes:
        rows: Every question with an answer on disk.
        failures: The reason for each question without one, by ``str(Pair)``.
        images_encoded: Encoder passes of this run.
    """

    rows: list[AskedRow] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    images_encoded: int = 0
    _faults: FaultWatch = field(default_factory=FaultWatch)

    def guard(self, pairs: Sequence[Pair], what: str) -> AbstractContextManager[None]:
        """Note a fault that costs some pairs, and go on; see ``FaultWatch``."""

        def note(reason: str) -> None:
            self.failures.update({str(pair): reason for pair in pairs})

        return self._faults.guard(note, what)


@dataclass(frozen=True, slots=True)
class _Task:
    """A pair, how far the clip is searched, and where the answer is kept."""

    pair: Pair
    search_end: int
    path: Path

    def row(self) -> AskedRow:
        """The answer, read from disk."""
        key, uid = str(self.pair.query.key), str(self.pair.clip.clip_uid)
        found = json.loads(self.path.read_text())
        return AskedRow(query=key, clip_uid=uid, kind=self.pair.kind, **found)


def ask_pairs(answerer: Answerer, pairs: Sequence[Pair], *, overwrite: bool = False) -> AskReport:
    """Ask queries of clips, clip by clip, with the tokens that its own answers use.

    Every answer is kept on disk; what has one is not asked again.

    Args:
        answerer: Of the set that the pairs are of.
        pairs: Of present and of absent things.
        overwrite: Ask all of them again.

    Raises:
        RunStoppedError: If all other questions would fail alike.
    """
    stage = open_stage(
        answerer.answers_dir.parent,
        "presence",
        {},
        upstream=[answerer.answers_dir.name],
        code=__name__,
    )
    report, encoder = AskReport(), answerer.localizer.models.encoder
    before = encoder.images_encoded
    groups: dict[str, list[Pair]] = {}
    for pair in pairs:
        groups.setdefault(str(pair.clip.clip_uid), []).append(pair)
    logger.info("presence: %d questions of %d clips in %s", len(pairs), len(groups), stage)
    for group in tqdm(groups.values(), desc="presence", unit="clip", disable=None):
        tasks = _survey(answerer, stage, group, report)
        todo = [task for task in tasks if overwrite or not task.path.exists()]
        if todo:
            _ask_clip(answerer, todo, report)
        failed = report.failures
        report.rows += [
            task.row() for task in tasks if str(task.pair) not in failed and task.path.exists()
        ]
    report.images_encoded = encoder.images_encoded - before
    return report


def _survey(
    answerer: Answerer, stage: Path, pairs: Sequence[Pair], report: AskReport
) -> list[_Task]:
    """What is to be asked of one clip, as far as the files open."""
    frames = None
    with report.guard(pairs, f"clip {pairs[0].clip.clip_uid}"):
        frames = answerer.files.frames(pairs[0].clip)
    if frames is None:
        return []
    tasks: list[_Task] = []
    for pair in pairs:
        with report.guard([pair], str(pair)):
            home = answerer.files.frames(pair.home)
            search_end = min(len(frames), pair.query.search_end(len(home)))
            name = _name(pair, home.fingerprint, search_end)
            tasks.append(_Task(pair, search_end, stage / frames.fingerprint / f"{name}.json"))
    return tasks


def found_for(
    localizer: Localizer, question: Question, frames: FrameSource, chunks: Sequence[Chunk]
) -> dict[str, float | int | None]:
    """The fields of ``AskedRow`` that the first search of a clip gives."""
    started = time.process_time()
    evidence = localizer.candidates(question, frames, chunks).evidence
    return {
        **({} if evidence is None else asdict(evidence)),
        "present": probability(evidence, localizer.config.presence),
        "search_frames": question.search_end,
        "seconds": time.process_time() - started,
    }


def asked_elsewhere(question: Question, num_frames: int) -> Question:
    """The same question of another clip of ``num_frames`` frames, which has no own occurrence."""
    return replace(question, crop_frame=None, search_end=min(question.search_end, num_frames))


def _name(pair: Pair, home: str, search_end: int) -> str:
    """A name after what is asked, so that an edited annotation is asked anew."""
    query = pair.query
    box = np.asarray(query.crop_box_xyxy, np.float64).tolist()
    is_present = pair.kind == "present"
    asked = (home, query.crop_frame, box, query.original_size_hw, search_end, is_present)
    return hashlib.sha256(repr(asked).encode()).hexdigest()[:16]


def _ask_clip(answerer: Answerer, tasks: Sequence[_Task], report: AskReport) -> None:
    """Tokens of one clip, then its questions; afterwards nothing of it is held."""
    with ExitStack() as while_asking:
        _ask(answerer, tasks, report, while_asking)


def _ask(
    answerer: Answerer, tasks: Sequence[_Task], report: AskReport, while_asking: ExitStack
) -> None:
    clip, chunks = tasks[0].pair.clip, None
    with report.guard([task.pair for task in tasks], f"clip {clip.clip_uid}"):
        frames = answerer.files.frames(clip)
        while_asking.enter_context(answerer.kept.using(frames.fingerprint))
        chunks = answerer.tokens_of(frames, max(task.search_end for task in tasks))
    if chunks is None:
        return
    for task in tasks:
        with report.guard([task.pair], str(task.pair)):
            question = question_of(task.pair.query, answerer.files.frames(task.pair.home))
            if task.pair.kind != "present":
                question = asked_elsewhere(question, len(frames))
            write_json(task.path, found_for(answerer.localizer, question, frames, chunks))
