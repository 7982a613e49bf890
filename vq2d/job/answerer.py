"""What answers the queries of a clip: loaded models, and the folders of tokens and answers.

Frames and tokens are of one clip at a time, and no file stays open. The same worker runs in this
process and on every machine of a cluster.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ren_core.code_identity import code_digest
from ren_core.errors import ConfigError, DataError
from ren_core.executor.base import Progress
from ren_core.executor.compute import ComputeWish
from ren_core.stages import digest, file_fingerprint, open_stage
from vq2d.ego4d.annotations import Clip
from vq2d.ego4d.clips import open_clip
from vq2d.job.kept_tokens import KeptTokens
from vq2d.job.task import FaultWatch, RunCost, Task
from vq2d.localize.build import build_localizer, masking_weights
from vq2d.localize.chunks import TokenChunk
from vq2d.localize.localizer import Localizer, question_of
from vq2d.localize.presets import VQ2DConfig
from vq2d.localize.saved import save_localization
from vq2d.localize.tokens import clip_tokens, open_tokens
from vq2d.types import QueryKey, VisualQuery
from vq2d.video.frames import VideoFrames
from vq2d.video.readers import ReaderName

ANSWERING = ("vq2d.localize.build", "vq2d.video.frames", "vq2d.localize.saved")
"""The modules whose code decides an answer, with all that they import: models, stages, frames."""


@dataclass(slots=True)
class ClipReport:
    """What became of the queries of a clip; their answers are on disk.

    Attributes:
        reasons: One sentence for each query that has no answer.
        images_encoded: Encoder passes.
        cost: What it took.
    """

    reasons: dict[QueryKey, str] = field(default_factory=dict)
    images_encoded: int = 0
    cost: RunCost = field(default_factory=RunCost)


@dataclass(frozen=True, slots=True)
class ClipFiles:
    """Where the clips of a set lie, and what reads them.

    Attributes:
        root: Folder of the data, in the ego4d CLI's layout.
        reader: What decodes the clips.
    """

    root: Path
    reader: ReaderName = "av"

    def frames(self, clip: Clip) -> VideoFrames:
        """The frames of a clip's file.

        Raises:
            DataError: If the file is missing or damaged, or has no frames.
        """
        frames = open_clip(self.root, clip, reader=self.reader)
        if len(frames) == 0:
            raise DataError(f"clip {clip.clip_uid} has no frames; fetch it again")
        return frames


class Answerer:
    """Answers the queries of clips; models stay loaded between them."""

    def __init__(
        self,
        files: ClipFiles,
        localizer: Localizer,
        *,
        cache: Path,
        weights: Sequence[str] = (),
        keep_tokens_of: str | None = None,
        most_token_bytes: float = math.inf,
    ) -> None:
        """Prepare the stage directories.

        Args:
            files: The clips.
            localizer: The loaded models.
            cache: Folder of the stage directories; may be shared by runs and presets.
            weights: Fingerprints of the weights of segmenter and tracker.
            keep_tokens_of: Digest of older code whose tokens shall be used.
            most_token_bytes: Of the clips that are finished; see ``KeptTokens``.
        """
        self.files = files
        self.localizer = localizer
        config = localizer.config
        self.tokens_dir = open_tokens(
            cache, localizer.models.encoder, config.tokens, keep=keep_tokens_of
        )
        self.kept = KeptTokens(self.tokens_dir, most_token_bytes)
        self.answers_dir = open_stage(
            cache,
            "answers",
            config,
            upstream=[self.tokens_dir.name, *weights],
            code=ANSWERING,
        )
        self._faults = FaultWatch()

    @property
    def identity(self) -> Mapping[str, str]:
        """The names of the stage directories know settings, weights, precision and code."""
        return {
            **code_identity(),
            "networks": self.localizer.networks,
            "tokens": self.tokens_dir.name,
            "answers": self.answers_dir.name,
        }

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

    def __call__(self, tasks: Sequence[Task], on_progress: Progress) -> ClipReport:
        """Tokens of one clip, then its queries; afterwards nothing of it is held.

        Args:
            tasks: The queries to be answered, all of the same clip.
            on_progress: Is told of ``"frames"`` and ``"queries"``.

        Raises:
            RunStoppedError: If other clips would fail alike; see ``FaultWatch``.
        """
        with ExitStack() as while_answering:
            return self._answer(tasks, on_progress, while_answering)

    def _answer(
        self, tasks: Sequence[Task], on_progress: Progress, while_answering: ExitStack
    ) -> ClipReport:
        report, clip, chunks = ClipReport(), tasks[0].clip, None
        encoder = self.localizer.models.encoder
        before = encoder.images_encoded

        def note(*keys: QueryKey) -> Callable[[str], object]:
            return lambda reason: report.reasons.update(dict.fromkeys(keys, reason))

        everything = note(*(task.key for task in tasks))
        with (
            self._faults.guard(everything, f"clip {clip.clip_uid}"),
            report.cost.timed("tokens"),
        ):
            frames = self.files.frames(clip)
            while_answering.enter_context(self.kept.using(frames.fingerprint))
            num_frames = max(task.search_end for task in tasks)
            chunks = self.tokens_of(frames, num_frames, lambda n: on_progress("frames", n))
        if chunks is None:
            on_progress("queries", len(tasks))
        else:
            with report.cost.timed("queries"):
                for task in tasks:
                    with self._faults.guard(note(task.key), f"query {task.key}"):
                        question = question_of(task.query, frames)
                        found = self.localizer.localize(question, frames, chunks)
                        save_localization(task.path, found)
                        report.cost.queries += 1
                    on_progress("queries", 1)
        report.images_encoded = encoder.images_encoded - before
        return report


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswererRecipe:
    """All that a machine needs to know to build an ``Answerer``.

    Attributes:
        files: The clips; an absolute path.
        annotations: The annotation file that the run answers, and its fingerprint on the head.
        cache: Folder of the stage directories, absolute.
        config: A preset, possibly changed.
        compute: What computes the networks.
        keep_tokens_of: Digest of older code whose tokens shall be used.
        most_token_bytes: Of the clips that are finished.
    """

    files: ClipFiles
    annotations: tuple[Path, str]
    cache: Path
    config: VQ2DConfig
    compute: ComputeWish
    keep_tokens_of: str | None
    most_token_bytes: float

    def __call__(self) -> Answerer:
        """Load the models, in the process that calls this.

        Raises:
            ConfigError: If this machine sees other data than the head, or cannot compute so.
            DataError: If weights are missing.
        """
        path, fingerprint = self.annotations
        if not path.is_file() or file_fingerprint(path) != fingerprint:
            raise ConfigError(
                f"this worker does not see the annotation file {path} that the head answers; mount "
                "the data at the same path on all machines"
            )
        localizer = build_localizer(self.config, self.compute.fulfilled())
        return Answerer(
            self.files,
            localizer,
            cache=self.cache,
            weights=masking_weights(localizer),
            keep_tokens_of=self.keep_tokens_of,
            most_token_bytes=self.most_token_bytes,
        )


def code_identity() -> Mapping[str, str]:
    """The code that decides an answer, which a process that loads no models knows too."""
    return {"code": digest([code_digest(module) for module in ANSWERING])}


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
