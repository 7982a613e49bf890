"""Videos that are sent: received into the memory's folder of what is not finished, in bounds."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path, PureWindowsPath

import anyio
from filelock import FileLock, Timeout

from ren_core.errors import ConfigError, DataError
from vq2d.memory.store import PRIVATE, Store
from vq2d.video.files import VIDEO_ENDINGS
from vq2d.web.additions import Addition
from vq2d.web.errors import FullError

LEAST_FREE_BYTES = 1 << 30
"""Stay free on the disk of the memory."""
IDLE_SECONDS = 60.0
"""An upload of which nothing came for so long is broken off."""
PATIENCE_SECONDS = 2.0
"""So long an upload waits for the one before it."""
WRITE_BYTES = 4 << 20
LONGEST_NAME = 120
PARTIAL = ".partial"


class Uploads:
    """Receives one video at a time."""

    def __init__(self, store: Store) -> None:
        self.folder = store.making / "uploads"
        self._owned = FileLock(store.making / "uploads.lock", timeout=0, thread_local=False)
        self._lock = threading.Lock()

    def open(self) -> list[Addition]:
        """Whole videos that were not remembered before the server ended; broken ones are deleted.

        Nothing if another server of the same memory is at work with them.
        """
        self.folder.mkdir(PRIVATE, parents=True, exist_ok=True)
        left = []
        with suppress(Timeout):
            self._owned.acquire()
            for folder in sorted(path for path in self.folder.iterdir() if path.is_dir()):
                whole = [path for path in folder.iterdir() if path.suffix != PARTIAL]
                left += [Addition(path, folder) for path in whole]
                if not whole:
                    shutil.rmtree(folder)
        return left

    def close(self) -> None:
        """Leave what is there to the next server."""
        self._owned.release()

    async def receive(
        self, parts: AsyncIterator[bytes], name: str, size: int, changed_s: float | None
    ) -> Addition:
        """Write a video to disk.

        Args:
            parts: Its bytes.
            name: Of the file where it came from.
            size: Bytes that it is said to have, 0 if that is not said.
            changed_s: When that file was last changed, seconds since 1970.

        Raises:
            ConfigError: If the name is not that of a video.
            DataError: If there is no room for it, it is empty, or nothing of it comes for long.
            FullError: If another one is still being received after ``PATIENCE_SECONDS``.
        """
        name = safe_name(name)
        async with self._one_at_a_time():
            return await self._receive(parts, name, size, changed_s)

    async def _receive(
        self, parts: AsyncIterator[bytes], name: str, size: int, changed_s: float | None
    ) -> Addition:
        with self._folder() as folder:
            self._check_free(size)
            partial = folder / (name + PARTIAL)
            await self._write(parts, partial)
            path = partial.replace(folder / name)
            if changed_s is not None:
                os.utime(path, (changed_s, changed_s))
            return Addition(path, folder)

    @asynccontextmanager
    async def _one_at_a_time(self) -> AsyncIterator[None]:
        """A browser that lost its connection sends again before the first try is seen to end."""
        try:
            with anyio.fail_after(PATIENCE_SECONDS):
                while not self._lock.acquire(blocking=False):
                    await anyio.sleep(0.05)
        except TimeoutError as err:
            raise FullError from err
        try:
            yield
        finally:
            self._lock.release()

    @contextmanager
    def _folder(self) -> Iterator[Path]:
        """A new folder, which goes again if something is wrong."""
        folder = self.folder / secrets.token_hex(8)
        folder.mkdir(PRIVATE, parents=True)
        try:
            yield folder
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    async def _write(self, parts: AsyncIterator[bytes], path: Path) -> None:
        """Write what comes; it ends with an empty part."""
        buffer, is_over = bytearray(), False
        async with await anyio.open_file(path, "wb") as file:
            while not is_over:
                part = b""
                with anyio.move_on_after(IDLE_SECONDS) as waited:
                    part = await anext(parts, b"")
                if waited.cancelled_caught:
                    raise DataError(
                        f"nothing of the video came for {IDLE_SECONDS:g} s; send it again"
                    )
                buffer += part
                is_over = not part
                if len(buffer) >= WRITE_BYTES or is_over:
                    self._check_free(len(buffer))
                    await file.write(buffer)
                    buffer = bytearray()
            if await file.tell() == 0:
                raise DataError("the video is empty (0 bytes); send another one")

    def _check_free(self, size: int) -> None:
        free = shutil.disk_usage(self.folder).free
        if size + LEAST_FREE_BYTES > free:
            raise DataError(
                f"the disk of the memory has {free / 1e9:.1f} GB free, and the video needs "
                f"{(size + LEAST_FREE_BYTES) / 1e9:.1f} GB; make room, or remember it where it lies"
            )


def safe_name(name: str) -> str:
    """The name of a file that was sent, as one that can be written anywhere.

    >>> safe_name("../my videos/a*b.MP4")
    'a_b.MP4'

    Raises:
        ConfigError: If it does not end like that of a video.
    """
    plain = re.sub(r"[^\w .()+,@-]", "_", PureWindowsPath(name).name).strip(" .")
    stem, ending = Path(plain).stem, Path(plain).suffix
    if ending.lower() not in VIDEO_ENDINGS:
        raise ConfigError(
            f"{plain or 'a file without a name'} is not named like a video; it must end in one of "
            f"{' '.join(sorted(VIDEO_ENDINGS))}"
        )
    return stem[:LONGEST_NAME].encode()[: 2 * LONGEST_NAME - 20].decode(errors="ignore") + ending
