"""The main job over an annotation file: clip by clip, each finished piece kept on disk.

Frames and tokens are of one clip at a time, and no file stays open; of each answer the similarity
curve stays in memory (16 bytes per searched frame). Whatever goes wrong with one clip or query is
recorded with its key, and the others go on.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from ren_core.errors import DataError
from ren_core.progress import tqdm
from ren_core.stages import open_stage
from vq2d.ego4d.annotations import Annotations, Clip
from vq2d.ego4d.clips import open_clip
from vq2d.job.task import Answer, RunReport, Task, Trouble
from vq2d.localize.chunks import TokenChunk
from vq2d.localize.localizer import Localizer, question_of
from vq2d.localize.saved import load_localization, save_localization
from vq2d.localize.tokens import clip_tokens, open_tokens
from vq2d.types import VisualQuery
from vq2d.video.frames import VideoFrames
from vq2d.video.readers import ReaderName

logger = logging.getLogger(__name__)

ANSWERING = ("vq2d.localize.build", "vq2d.video.frames", "vq2d.localize.saved")
"""The modules whose code decides an answer, with all that they import: models, stages, frames."""


class Runner:
    """Runs the stages over the clips of one annotation file."""

    def __init__(
        self,
        annotations: Annotations,
        root: Path,
        localizer: Localizer,
        *,
        cache: Path,
        weights: Sequence[str] = (),
        keep_tokens_of: str | None = None,
        reader: ReaderName = "av",
    ) -> None:
        """Prepare the stage directories.

        Args:
            annotations: What to answer.
            root: Folder of the data, in the ego4d CLI's layout.
            localizer: The loaded models.
            cache: Folder of the stage directories; may be shared by runs and presets.
            weights: Fingerprints of the weights of segmenter and tracker.
            keep_tokens_of: Digest of older code whose tokens shall be used.
            reader: What decodes the clips.
        """
        self.reader = reader
        self.root = root
        self.annotations = annotations
        self.localizer = localizer
        config = localizer.config
        self.tokens_dir = open_tokens(
            cache, localizer.models.encoder, config.tokens, keep=keep_tokens_of
        )
        self.answers_dir = open_stage(
            cache,
            "answers",
            config,
            upstream=[self.tokens_dir.name, *weights],
            code=ANSWERING,
        )

    def run(self, *, limit: int | None = None, overwrite: bool = False) -> RunReport:
        """Answer the first ``limit`` queries; those with an answer on disk are left alone.

        Args:
            limit: None: all of them.
            overwrite: Answer them again (tokens are kept: they are the same).
        """
        asked = tuple(query.key for query in self.annotations.query_sets[:limit])
        report = RunReport(asked=asked)
        damaged = self.annotations.damaged
        report.note(
            Trouble.NOT_ANSWERED, {key: damaged[key] for key in report.asked if key in damaged}
        )
        encoder = self.localizer.models.encoder
        encoded = encoder.images_encoded
        clips = list(self._survey(report, overwrite))
        todo = [[task for task in tasks if not task.path.exists()] for tasks in clips]
        todo = [tasks for tasks in todo if tasks]
        count = sum(len(tasks) for tasks in todo)
        known = sum(len(tasks) for tasks in clips)
        logger.info("queries: %d of %d to answer in %s", count, known, self.answers_dir)

        frames = sum(max(task.search_end for task in tasks) for tasks in todo)
        report.cost.frames = frames
        with (
            tqdm(total=frames, desc="tokens", unit="frame", disable=None) as frame_bar,
            tqdm(total=count, desc="queries", unit="query", disable=None) as query_bar,
        ):
            for tasks in todo:
                self._answer_clip(tasks, report, frame_bar, query_bar)
        report.images_encoded = encoder.images_encoded - encoded
        answered = [task for tasks in clips for task in tasks if task.path.exists()]
        report.answers = [Answer(task, load_localization(task.path)) for task in answered]
        lacks = {answer.task.key: _lack_of(answer) for answer in report.answers}
        report.note(Trouble.CUT_SHORT, {key: lack for key, lack in lacks.items() if lack})
        return report

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
        frames = self.open_frames(clip)
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

    def open_frames(self, clip: Clip) -> VideoFrames:
        """The frames of a clip's file.

        Raises:
            DataError: If the file is missing or damaged, or has no frames.
        """
        frames = open_clip(self.root, clip, reader=self.reader)
        if len(frames) == 0:
            raise DataError(f"clip {clip.clip_uid} has no frames; fetch it again")
        return frames

    def tokens_of(
        self,
        frames: VideoFrames,
        num_frames: int,
        on_frames: Callable[[int], object] = lambda _: None,
    ) -> list[TokenChunk]:
        """Tokens of the first ``num_frames`` frames of a clip; see ``clip_tokens``."""
        return clip_tokens(
            frames,
            self.localizer.models.encoder,
            self.localizer.config.tokens,
            directory=self.tokens_dir / frames.fingerprint,
            num_frames=num_frames,
            on_frames=on_frames,
        )

    def _answer_clip(
        self,
        tasks: Sequence[Task],
        report: RunReport,
        frame_bar: tqdm,
        query_bar: tqdm,
    ) -> None:
        """Tokens of one clip, then its queries; afterwards nothing of it is held."""
        clip, keys = tasks[0].clip, [task.key for task in tasks]
        chunks = None
        with (
            report.guard(Trouble.NOT_ANSWERED, keys, f"clip {clip.clip_uid}"),
            report.cost.timed("tokens"),
        ):
            frames = self.open_frames(clip)
            num_frames = max(task.search_end for task in tasks)
            chunks = self.tokens_of(frames, num_frames, frame_bar.update)
        if chunks is None:
            query_bar.update(len(tasks))
            return
        with report.cost.timed("queries"):
            for task in tasks:
                with report.guard(Trouble.NOT_ANSWERED, [task.key], f"query {task.key}"):
                    question = question_of(task.query, frames)
                    save_localization(task.path, self.localizer.localize(question, frames, chunks))
                    report.cost.queries += 1
                query_bar.update()


def answer_path(answers_dir: Path, frames: VideoFrames, query: VisualQuery) -> Path:
    """A file named after what is asked, so that an edited annotation is answered anew.

    Args:
        answers_dir: Folder of the answers of a configuration.
        frames: Of the query's clip.
        query: The question.
    """
    asked = (
        query.query_frame,
        query.crop_frame,
        np.asarray(query.crop_box_xyxy, np.float64).tolist(),
        query.original_size_hw,
    )
    name = hashlib.sha256(repr(asked).encode()).hexdigest()[:16]
    return answers_dir / frames.fingerprint / f"{name}.json"


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
