"""The main job over an annotation file: tokens, then queries, each finished piece kept on disk."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ren_core.errors import DataError
from ren_core.stages import open_stage
from vq2d.annotations import Annotations, Clip
from vq2d.localizer import Localizer, question_of
from vq2d.results import save_localization
from vq2d.tokens import TokenChunk, clip_tokens, open_tokens
from vq2d.types import QueryKey, VisualQuery
from vq2d.video import VideoFrames, open_clip

logger = logging.getLogger(__name__)

STAGE_VERSION = 1


@dataclass(frozen=True, slots=True)
class Task:
    """One query that shall be answered.

    Attributes:
        query: The question.
        clip: Where it is asked.
        size_hw: Height and width of the clip's file, pixels.
        path: Where the answer is kept.
    """

    query: VisualQuery
    clip: Clip
    size_hw: tuple[int, int]
    path: Path


@dataclass(slots=True)
class RunReport:
    """What a run did.

    Attributes:
        tasks: Queries that have an answer on disk.
        failures: Reason per query without one.
        images_encoded: Encoder passes of this run.
        seconds: Per stage.
    """

    tasks: list[Task] = field(default_factory=list)
    failures: dict[QueryKey, str] = field(default_factory=dict)
    images_encoded: int = 0
    seconds: dict[str, float] = field(default_factory=dict)


class Runner:
    """Runs the stages over the clips of one annotation file."""

    def __init__(
        self, annotations: Annotations, root: Path, localizer: Localizer, *, cache: Path
    ) -> None:
        """Prepare the stage directories.

        Args:
            annotations: What to answer.
            root: Folder of the data, in the ego4d CLI's layout.
            localizer: The loaded models.
            cache: Folder of the stage directories; may be shared by runs and presets.
        """
        self.root = root
        self.annotations = annotations
        self.localizer = localizer
        config = localizer.config
        self.tokens_dir = open_tokens(cache, localizer.matcher, config.tokens)
        self.answers_dir = open_stage(
            cache, "answers", config, upstream=[self.tokens_dir.name], version=STAGE_VERSION
        )

    def run(self, *, limit: int | None = None, overwrite: bool = False) -> RunReport:
        """Answer the first ``limit`` queries; those with an answer on disk are left alone.

        Args:
            limit: None: all of them.
            overwrite: Answer them again (tokens are kept: they are the same).
        """
        report = RunReport()
        work = list(self._open_clips(report, limit, overwrite))
        encoded = self.localizer.matcher.images_encoded
        todo = [(c, f, [t for t in tasks if not t.path.exists()]) for c, f, tasks in work]
        todo = [(clip, frames, tasks) for clip, frames, tasks in todo if tasks]
        count = sum(len(tasks) for _, _, tasks in todo)
        logger.info(
            "queries: %d of %d to answer in %s",
            count,
            sum(len(tasks) for _, _, tasks in work),
            self.answers_dir,
        )

        started = time.perf_counter()
        ready = self._all_tokens(todo, report)
        report.seconds["tokens"] = time.perf_counter() - started
        started = time.perf_counter()
        self._all_answers(ready, report, count)
        report.seconds["queries"] = time.perf_counter() - started
        report.images_encoded = self.localizer.matcher.images_encoded - encoded
        report.tasks = [t for _, _, tasks in work for t in tasks if t.path.exists()]
        return report

    def _open_clips(
        self, report: RunReport, limit: int | None, overwrite: bool
    ) -> Iterator[tuple[Clip, VideoFrames, list[Task]]]:
        left = limit if limit is not None else sum(len(c.queries) for c in self.annotations.clips)
        for clip in self.annotations.clips:
            queries = clip.queries[:left]
            left -= len(queries)
            if not queries:
                continue
            try:
                frames = open_clip(self.root, clip)
                if len(frames) == 0:
                    raise DataError(f"clip {clip.clip_uid} has no frames; fetch it again")
            except DataError as err:
                report.failures.update({q.key: str(err) for q in queries})
                continue
            tasks = [Task(q, clip, frames.size_hw, self._answer_path(frames, q)) for q in queries]
            if overwrite:
                for task in tasks:
                    task.path.unlink(missing_ok=True)
            yield clip, frames, tasks

    def _answer_path(self, frames: VideoFrames, query: VisualQuery) -> Path:
        """A file named after what is asked, so that an edited annotation is answered anew."""
        asked = (
            query.query_frame,
            query.crop_frame,
            np.asarray(query.crop_box_xyxy, np.float64).tolist(),
            query.original_size_hw,
        )
        name = hashlib.sha256(repr(asked).encode()).hexdigest()[:16]
        return self.answers_dir / frames.fingerprint / f"{name}.json"

    def _all_tokens(
        self, todo: list[tuple[Clip, VideoFrames, list[Task]]], report: RunReport
    ) -> list[tuple[VideoFrames, list[Task], list[TokenChunk]]]:
        ready = []
        ends = [max(t.query.search_end(len(frames)) for t in tasks) for _, frames, tasks in todo]
        with tqdm(total=sum(ends), desc="tokens", unit="frame", disable=None) as bar:
            for (_, frames, tasks), end in zip(todo, ends, strict=True):
                try:
                    chunks = clip_tokens(
                        frames,
                        self.localizer.matcher,
                        self.localizer.config.tokens,
                        directory=self.tokens_dir / frames.fingerprint,
                        num_frames=end,
                        on_frames=bar.update,
                    )
                except Exception as err:  # one bad clip never ends a run
                    logger.warning("%s: %s", frames.path, err, exc_info=True)
                    report.failures.update({t.query.key: _reason(err) for t in tasks})
                    continue
                ready.append((frames, tasks, chunks))
        return ready

    def _all_answers(
        self,
        ready: list[tuple[VideoFrames, list[Task], list[TokenChunk]]],
        report: RunReport,
        count: int,
    ) -> None:
        with tqdm(total=count, desc="queries", unit="query", disable=None) as bar:
            for frames, tasks, chunks in ready:
                for task in tasks:
                    try:
                        question = question_of(task.query, frames)
                        found = self.localizer.localize(question, frames, chunks)
                        save_localization(task.path, found)
                    except Exception as err:  # one bad query never ends a run
                        logger.warning("query %s: %s", task.query.key, err, exc_info=True)
                        report.failures[task.query.key] = _reason(err)
                    bar.update()


def _reason(err: Exception) -> str:
    return str(err) if isinstance(err, DataError) else f"{type(err).__name__}: {err}"
