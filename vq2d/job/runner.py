"""The main job over an annotation file: clip by clip, each finished piece kept on disk.

Of each answer the similarity curve stays in memory (16 bytes per searched frame). Whatever goes
wrong with one clip or query is recorded with its key, and the others go on.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from ren_core.executor.base import Item, Pool
from ren_core.progress import tqdm
from vq2d.ego4d.annotations import Annotations, Clip
from vq2d.job.answerer import ClipFiles, ClipReport, answer_path
from vq2d.job.task import Answer, RunReport, Task, Trouble
from vq2d.localize.saved import load_localization
from vq2d.types import QueryKey, VisualQuery

logger = logging.getLogger(__name__)


class Runner:
    """Has the queries of one annotation file answered, by workers here or elsewhere."""

    def __init__(
        self,
        annotations: Annotations,
        files: ClipFiles,
        pool: Pool[Sequence[Task], ClipReport],
        *,
        cache: Path,
    ) -> None:
        """Join questions and workers.

        Args:
            annotations: What to answer.
            files: The clips, as the workers see them.
            pool: Workers that are an ``Answerer`` each.
            cache: Their folder of stage directories.
        """
        self.annotations = annotations
        self.files = files
        self.pool = pool
        self.answers_dir = cache / pool.identity["answers"]

    def run(
        self,
        *,
        limit: int | None = None,
        only: Collection[QueryKey] | None = None,
        overwrite: bool = False,
    ) -> RunReport:
        """Answer the first ``limit`` queries; those with an answer on disk are left alone.

        Args:
            limit: None: all of them.
            only: Of these; None: of all queries of the annotation file.
            overwrite: Answer them again (tokens are kept: they are the same).
        """
        keys = (query.key for query in self.annotations.query_sets)
        asked = tuple(key for key in keys if only is None or key in only)[:limit]
        report = RunReport(asked=asked)
        damaged = self.annotations.damaged
        report.note(
            Trouble.NOT_ANSWERED, {key: damaged[key] for key in report.asked if key in damaged}
        )
        clips = list(self._survey(report, overwrite))
        todo = [[task for task in tasks if not task.path.exists()] for tasks in clips]
        todo = [tasks for tasks in todo if tasks]
        count = sum(len(tasks) for tasks in todo)
        known = sum(len(tasks) for tasks in clips)
        logger.info("queries: %d of %d to answer in %s", count, known, self.answers_dir)

        items: list[Item[Sequence[Task]]] = [
            Item(f"clip {tasks[0].clip.clip_uid}", max(task.search_end for task in tasks), tasks)
            for tasks in todo
        ]
        self._answer(items, count, report)
        answered = [task for tasks in clips for task in tasks if task.path.exists()]
        report.answers = [Answer(task, load_localization(task.path)) for task in answered]
        lacks = {answer.task.key: _lack_of(answer) for answer in report.answers}
        report.note(Trouble.CUT_SHORT, {key: lack for key, lack in lacks.items() if lack})
        return report

    def _answer(
        self, items: Sequence[Item[Sequence[Task]]], queries: int, report: RunReport
    ) -> None:
        """Hand the clips to the workers, and add up what they report."""
        report.cost.frames = frames = sum(item.size for item in items)
        with (
            tqdm(total=frames, desc="tokens", unit="frame", disable=None) as frame_bar,
            tqdm(total=queries, desc="queries", unit="query", disable=None) as query_bar,
        ):
            bars = {"frames": frame_bar, "queries": query_bar}
            for done in self.pool.map(items, lambda what, count: bars[what].update(count)):
                if done.result is None:
                    keys = [task.key for task in done.item.load]
                    report.note(Trouble.NOT_ANSWERED, dict.fromkeys(keys, done.lost))
                    continue
                report.note(Trouble.NOT_ANSWERED, done.result.reasons)
                report.images_encoded += done.result.images_encoded
                report.cost.add(done.result.cost)

    def _survey(self, report: RunReport, overwrite: bool) -> Iterator[list[Task]]:
        """The tasks of each clip that opens, which is closed again."""
        asked = set(report.asked)
        wanted = [
            (clip, [query for query in clip.queries if query.key in asked])
            for clip in self.annotations.clips
        ]
        wanted = [(clip, queries) for clip, queries in wanted if queries]
        for clip, queries in tqdm(wanted, desc="clips", unit="clip", disable=None):
            tasks: list[Task] = []
            keys = [query.key for query in queries]
            with report.guard(Trouble.NOT_ANSWERED, keys, f"clip {clip.clip_uid}"):
                tasks = self._tasks(clip, queries)
            if overwrite:
                for task in tasks:
                    task.path.unlink(missing_ok=True)
            yield tasks

    def _tasks(self, clip: Clip, queries: Sequence[VisualQuery]) -> list[Task]:
        frames = self.files.frames(clip)
        return [
            Task(
                query,
                clip,
                frames.size_hw,
                len(frames),
                answer_path(self.answers_dir, frames, query),
            )
            for query in queries
        ]


def _lack_of(answer: Answer) -> str:
    """What of the frames before the query could not be searched; empty if nothing."""
    task, asked = answer.task, answer.task.query.query_frame
    parts = []
    if task.num_frames < asked:
        parts.append(f"ends after {task.num_frames} of the {asked} frames before the query")
    if answer.found.held:
        where = ", ".join(f"{frames.start} to {frames.stop - 1}" for frames in answer.found.held)
        parts.append(f"cannot be decoded at frames {where}")
    if not parts:
        return ""
    return (
        f"the file of clip {task.clip.clip_uid} {' and '.join(parts)}; it was answered from "
        "what is there, fetch the clip again"
    )
