"""The folder of a memory: one folder per video, answers, and a catalogue that is made from them.

    memory.json, projection.safetensors    whose vectors are kept, and in which directions
    videos/<fingerprint>/                  video.json, vectors.faiss, sights.safetensors, and of the
                                           page: thumbnail.jpg, proxy.webm, file/ (if it was sent)
    answers/<name>.json, <name>.jpg        what was asked and answered
    catalogue.sqlite                       all of that at a glance; may be removed
    making/                                what is not finished: a killed run goes on there

What is in ``videos`` and ``answers`` is complete: it is written elsewhere and renamed.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta, timezone
from functools import cached_property
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ren_core.errors import ConfigError, DataError
from ren_core.stages import atomic_path, write_json
from vq2d.localize.projection import Projection, load_projection, save_projection
from vq2d.memory.catalogue import Catalogue, KnownAnswer, RememberedVideo
from vq2d.memory.kept import VECTORS, ChunkBounds, KeptVideo

FORMAT = 1
PRIVATE = 0o700


@dataclass(frozen=True, slots=True, kw_only=True)
class MemorySettings:
    """What holds for all of a memory.

    Attributes:
        model: Digest of what decides its vectors, but for engine, precision and code.
        model_name: The preset, for messages.
        forget_after_s: Recordings older than so many seconds are removed; None: none are.
        format: Of the folder.
    """

    model: str
    model_name: str
    forget_after_s: float | None = None
    format: int = FORMAT


class Store:
    """One memory on disk; knows of no model."""

    def __init__(self, folder: Path, *, catalogued: bool = True) -> None:
        """Open a memory that is there.

        Args:
            folder: The memory.
            catalogued: Whether this process may read and write the catalogue: no more than those of
                one machine may, since SQLite cannot be shared over a network.

        Raises:
            DataError: If there is none, or it cannot be read.
        """
        self.folder = folder.expanduser().absolute()
        self.settings = _read_settings(self.folder)
        self.projection = load_projection(self.folder / "projection.safetensors")
        self._kept: dict[str, KeptVideo] = {}
        if catalogued:
            self.sync()

    @cached_property
    def catalogue(self) -> Catalogue:
        """What the folders hold, at a glance."""
        return Catalogue(self.folder / "catalogue.sqlite")

    @staticmethod
    def is_in(folder: Path) -> bool:
        """Whether a folder holds a memory."""
        return (folder.expanduser() / "memory.json").is_file()

    @classmethod
    def create(
        cls, folder: Path, settings: MemorySettings, projection: Callable[[], Projection]
    ) -> Store:
        """Make an empty memory that only its owner can read, or open the one that is there.

        Args:
            folder: Is made if it is not there.
            settings: Of a new memory.
            projection: Gives that of a new memory.

        Raises:
            ConfigError: If there is something else in the folder.
        """
        folder = folder.expanduser().absolute()
        if not cls.is_in(folder):
            if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
                raise ConfigError(
                    f"{folder} holds other things and is no memory; name an empty or a new folder"
                )
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(PRIVATE)
            for name in ("videos", "answers", "making"):
                (folder / name).mkdir(mode=PRIVATE, exist_ok=True)
            save_projection(folder / "projection.safetensors", projection())
            write_json(folder / "memory.json", settings)
        return cls(folder)

    def configure(self, settings: MemorySettings) -> None:
        """Keep other settings."""
        write_json(self.folder / "memory.json", settings)
        self.settings = settings

    @property
    def making(self) -> Path:
        """Folder of what is not finished."""
        return self.folder / "making"

    @property
    def answers(self) -> Path:
        """Folder of what was answered."""
        return self.folder / "answers"

    def folder_of(self, fingerprint: str) -> Path:
        """Folder of a video."""
        return self.folder / "videos" / fingerprint

    def sync(self) -> None:
        """Make the catalogue agree with the folders; what a killed removal left goes."""
        videos = self.folder / "videos"
        there = {path.name for path in videos.iterdir() if not path.name.startswith(".")}
        known = {video.fingerprint for video in self.catalogue.videos()}
        self.catalogue.put([self.read_video(name) for name in sorted(there - known)])
        self.catalogue.drop(sorted(known - there))
        for name in known - there:
            self._kept.pop(name, None)
        for left in videos.glob(".*.removed"):
            shutil.rmtree(left, ignore_errors=True)

        names = {path.stem for path in self.answers.glob("*.json")}
        listed = {answer.name for answer in self.catalogue.answers()}
        self.catalogue.put_answers([self.read_answer(name)[0] for name in sorted(names - listed)])
        self.catalogue.drop_answers(sorted(listed - names))

    def videos(self) -> list[RememberedVideo]:
        """All videos, the latest recording first."""
        return self.catalogue.videos()

    def kept(self, fingerprint: str) -> KeptVideo:
        """The vectors of a video, mapped into memory."""
        if fingerprint not in self._kept:
            raw = self._read_json(fingerprint)
            bounds = [ChunkBounds(*numbers) for numbers in raw["bounds"]]
            folder = self.folder_of(fingerprint)
            self._kept[fingerprint] = KeptVideo(folder, bounds, self.projection)
        return self._kept[fingerprint]

    def held(self, fingerprint: str) -> list[int]:
        """Clip frames of a video that could not be decoded when it was remembered."""
        frames: list[int] = self._read_json(fingerprint)["held"]
        return frames

    @contextmanager
    def making_of(self, fingerprint: str, *, wait: bool) -> Iterator[bool]:
        """Whether this process may make a video now; false while another one does.

        Args:
            fingerprint: The video.
            wait: Wait until the other one is done.
        """
        lock = FileLock(self.making / f"{fingerprint}.lock", timeout=-1 if wait else 0)
        try:
            with lock:
                yield True
        except Timeout:
            yield False

    def keep(
        self,
        video: RememberedVideo,
        held: Sequence[int],
        write: Callable[[Path], list[ChunkBounds]],
    ) -> RememberedVideo:
        """Write the folder of a video whose lock is held; the catalogue does not know it yet.

        Args:
            video: What is known of it; ``vectors`` and ``bytes`` are filled in.
            held: Clip frames that cannot be decoded.
            write: Writes its files into a folder; gives the bounds of its chunks.
        """
        target = self.folder_of(video.fingerprint)
        unfinished = target.with_name(f".{target.name}.partial")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=PRIVATE)
        try:
            bounds = write(unfinished)
            size = sum(path.stat().st_size for path in unfinished.iterdir())
            video = replace(video, vectors=bounds[-1].vector, bytes=size)
            self._write_video(unfinished, video, bounds, held)
            unfinished.rename(target)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
        return video

    def moved(self, video: RememberedVideo, path: Path) -> None:
        """Note that a video's file lies elsewhere now."""
        raw = self._read_json(video.fingerprint)
        write_json(self.folder_of(video.fingerprint) / "video.json", {**raw, "path": str(path)})
        self.catalogue.put([replace(video, path=path)])

    def remove(self, fingerprints: Sequence[str]) -> None:
        """Delete all that is kept of videos, and the answers that show them."""
        gone = set(fingerprints)
        for answer in self.catalogue.answers():
            if gone & set(answer.videos):
                for path in self.answers.glob(f"{answer.name}.*"):
                    path.unlink()
        for fingerprint in fingerprints:
            folder = self.folder_of(fingerprint)
            removed = folder.with_name(f".{fingerprint}.removed")
            shutil.rmtree(removed, ignore_errors=True)
            if folder.exists():
                folder.rename(removed)
            self.clear_making(fingerprint)
        self.sync()

    def clear_making(self, fingerprint: str) -> None:
        """Remove the unfinished parts of a video."""
        for part in self.making.glob(f"*/{fingerprint}"):
            shutil.rmtree(part, ignore_errors=True)
        for part in self.making.glob(f"{fingerprint}-*.partial"):
            part.unlink(missing_ok=True)

    def forget(self, now: datetime | None = None) -> list[RememberedVideo]:
        """Remove recordings that are older than the memory shall keep; what was removed."""
        if self.settings.forget_after_s is None:
            return []
        limit = (now or datetime.now(timezone.utc)) - timedelta(
            seconds=self.settings.forget_after_s
        )
        old = [video for video in self.videos() if video.recorded_at < limit]
        if old:
            self.remove([video.fingerprint for video in old])
        return old

    def check(self) -> list[tuple[RememberedVideo, str]]:
        """Videos with what is wrong with them, one sentence each."""
        found = []
        for video in self.videos():
            try:
                self.kept(video.fingerprint).verify()
            except DataError as err:
                found.append((video, f"{err}; remove the video and remember it again"))
            if not video.path.is_file():
                found.append(
                    (
                        video,
                        f"{video.path} is not there any more: it is found, but not shown; if "
                        "it was moved, remember it at its new place",
                    )
                )
        return found

    def read_answer(self, name: str) -> tuple[KnownAnswer, dict[str, Any]]:
        """An answer that was given: its entry, and all of it as JSON types."""
        path = self.answers / f"{name}.json"
        raw: dict[str, Any] = json.loads(path.read_text())
        asked_at = datetime.fromtimestamp(path.stat().st_mtime, timezone.utc)
        return KnownAnswer(name, asked_at, tuple(raw["videos"])), raw

    def write_answer(self, name: str, raw: dict[str, Any], picture: bytes | None = None) -> None:
        """Keep an answer.

        Args:
            name: Of its files.
            raw: JSON types; its ``videos`` are the fingerprints of those that it shows.
            picture: JPEG of what was asked.
        """
        write_json(self.answers / f"{name}.json", raw)
        if picture is not None:
            with atomic_path(self.answers / f"{name}.jpg") as temporary:
                temporary.write_bytes(picture)
        self.catalogue.put_answers([self.read_answer(name)[0]])

    def _read_json(self, fingerprint: str) -> dict[str, Any]:
        path = self.folder_of(fingerprint) / "video.json"
        try:
            raw: dict[str, Any] = json.loads(path.read_text())
        except (OSError, ValueError) as err:
            raise DataError(
                f"{path} cannot be read ({err}); remove {path.parent} and remember the video again"
            ) from err
        return raw

    def read_video(self, fingerprint: str) -> RememberedVideo:
        """What the folder of a video says of it."""
        raw = self._read_json(fingerprint)
        changed = (self.folder_of(fingerprint) / VECTORS).stat().st_mtime
        return RememberedVideo(
            fingerprint=fingerprint,
            path=Path(raw["path"]),
            recorded_at=datetime.fromisoformat(raw["recorded_at"]),
            recorded_from=raw["recorded_from"],
            num_frames=raw["num_frames"],
            size_hw=(raw["size_hw"][0], raw["size_hw"][1]),
            vectors=raw["vectors"],
            bytes=raw["bytes"],
            made_by=raw["made_by"],
            added_at=datetime.fromtimestamp(changed, timezone.utc),
        )

    def _write_video(
        self,
        folder: Path,
        video: RememberedVideo,
        bounds: Sequence[ChunkBounds],
        held: Sequence[int],
    ) -> None:
        """``video.json``: no time of the run in it, so that a video's files are always the same."""
        raw = asdict(video)
        del raw["added_at"], raw["fingerprint"]
        raw["recorded_at"] = video.recorded_at.isoformat()
        raw["bounds"] = [[b.frame, b.vector, b.track, b.sight] for b in bounds]
        raw["held"] = list(held)
        write_json(folder / "video.json", raw)


def _read_settings(folder: Path) -> MemorySettings:
    path = folder / "memory.json"
    if not path.is_file():
        raise DataError(f"there is no memory in {folder}; make one with `vq2d remember`")
    raw = json.loads(path.read_text())
    if raw.get("format") != FORMAT:
        raise DataError(
            f"{folder} is a memory of format {raw.get('format')}, and this program reads {FORMAT}; "
            "remember the videos anew in another folder"
        )
    raw.pop("type", None)
    return MemorySettings(**raw)
