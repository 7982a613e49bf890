"""Videos are added to a memory by workers, which make folders; one process keeps the catalogue."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ren_core.code_identity import code_digest
from ren_core.executor.base import Progress
from ren_core.executor.compute import ComputeWish
from vq2d.job.task import FaultWatch
from vq2d.localize.build import build_localizer
from vq2d.localize.presets import VQ2DConfig
from vq2d.memory.catalogue import RememberedVideo
from vq2d.memory.memory import Memory
from vq2d.memory.store import Store
from vq2d.video.readers import ReaderName

MAKING = "vq2d.memory.memory"
"""The module whose code decides the folder of a video, with all that it imports."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A video file that shall be remembered.

    Attributes:
        path: Absolute.
        wait: Wait for another process that is making the same video.
    """

    path: Path
    wait: bool


@dataclass(frozen=True, slots=True)
class Made:
    """What became of a video file.

    Attributes:
        video: What its folder holds; None if another process is making it, it is too old to be
            kept, or it failed.
        reason: Why it failed, one sentence; else empty.
    """

    video: RememberedVideo | None
    reason: str = ""


class Rememberer:
    """Makes the folders of videos; models stay loaded between them."""

    def __init__(self, memory: Memory) -> None:
        self.memory = memory
        self._faults = FaultWatch()

    @property
    def identity(self) -> Mapping[str, str]:
        """Model, precision and code."""
        return {**making_code(), **self.memory.identity}

    def __call__(self, wanted: Wanted, on_progress: Progress) -> Made:
        """Make the folder of a video, if it is not there.

        Raises:
            RunStoppedError: If other videos would fail alike; see ``FaultWatch``.
        """
        reasons: list[str] = []
        video = None
        with self._faults.guard(reasons.append, str(wanted.path)):
            video = self.memory.make(
                wanted.path, lambda n: on_progress("frames", n), wait=wanted.wait
            )
        return Made(video, *reasons)


@dataclass(frozen=True, slots=True, kw_only=True)
class RemembererRecipe:
    """All that a machine needs to know to build a ``Rememberer``.

    Attributes:
        folder: A memory that is there; absolute.
        config: A preset by ``remembering``.
        compute: What computes the networks.
        reader: What decodes videos.
    """

    folder: Path
    config: VQ2DConfig
    compute: ComputeWish
    reader: ReaderName

    def __call__(self) -> Rememberer:
        """Load the models, in the process that calls this.

        Raises:
            ConfigError: If the model is not the memory's, or this machine cannot compute so.
            DataError: If weights are missing.
        """
        localizer = build_localizer(self.config, self.compute.fulfilled())
        store = Store(self.folder, catalogued=False)
        return Rememberer(Memory(store, localizer, reader=self.reader))


def making_code() -> Mapping[str, str]:
    """The code that decides the folder of a video."""
    return {"code": code_digest(MAKING)}
