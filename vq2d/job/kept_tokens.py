"""The tokens of clips on disk, within a number of bytes: those not used for longest go first.

A token is only ever made from its clip, so that one that was dropped is made again. Several
processes, on several machines, may keep and drop tokens in the same folder.
"""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from ren_core.stages import is_abandoned, machine_name

LOCK_SECONDS = 60


class KeptTokens:
    """A folder of tokens, a subfolder for each clip."""

    def __init__(self, folder: Path, most_bytes: float) -> None:
        """Prepare.

        Args:
            folder: Of the stage ``tokens``.
            most_bytes: What may stay when a clip is finished; infinity: all. Clips that some
                process is at work on stay, and count.
        """
        self.folder = folder
        self.most_bytes = most_bytes
        self._lock = FileLock(folder / ".use.lock", timeout=LOCK_SECONDS)

    @contextmanager
    def using(self, clip: str) -> Iterator[Path]:
        """The folder of a clip's tokens, which no process drops while this lasts; then some go."""
        folder = self.folder / clip
        # that of a killed process goes as other leftovers do
        mark = folder / f".use.{machine_name()}-{os.getpid()}.partial"
        with self._lock:
            folder.mkdir(exist_ok=True)
            mark.touch()
        try:
            yield folder
        finally:
            mark.unlink(missing_ok=True)
            self._drop()

    def _drop(self) -> None:
        """Remove clips that nobody uses until the others fit."""
        if math.isinf(self.most_bytes):
            return
        dropped = list(self.folder.glob(".*.dropped"))  # a killed process may have left some
        with suppress(Timeout), self._lock:
            sizes = {folder: _bytes_in(folder) for folder in self._clips()}
            for folder in sorted(sizes, key=_last_used):
                if sum(sizes.values()) <= self.most_bytes:
                    break
                if not _is_in_use(folder):
                    name = f".{folder.name}.{machine_name()}-{os.getpid()}.dropped"
                    dropped.append(folder.replace(folder.with_name(name)))
                    del sizes[folder]
        for folder in dropped:
            shutil.rmtree(folder, ignore_errors=True)

    def _clips(self) -> list[Path]:
        return [path for path in self.folder.glob("[!.]*") if path.is_dir()]


def _is_in_use(folder: Path) -> bool:
    return any(not is_abandoned(mark) for mark in folder.glob(".use.*.partial"))


def _last_used(folder: Path) -> float:
    """When the folder changed last: a mark that comes or goes changes it, too."""
    return folder.stat().st_mtime


def _bytes_in(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("[!.]*"))
