"""What a memory holds, in one SQLite file; made anew from the folders whenever it disagrees."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Literal

from ren_core.errors import DataError

WAIT_SECONDS = 30
"""How long a process waits for another one that is writing."""

TABLES = """
CREATE TABLE IF NOT EXISTS videos (
    fingerprint TEXT PRIMARY KEY, path TEXT NOT NULL, recorded_at TEXT NOT NULL,
    recorded_from TEXT NOT NULL, num_frames INTEGER NOT NULL, height INTEGER NOT NULL,
    width INTEGER NOT NULL, vectors INTEGER NOT NULL, bytes INTEGER NOT NULL,
    made_by TEXT NOT NULL, added_at TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS failures (
    path TEXT PRIMARY KEY, reason TEXT NOT NULL, failed_at TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS answers (
    answer TEXT PRIMARY KEY, asked_at TEXT NOT NULL, videos TEXT NOT NULL
) STRICT;
"""

FRAMES_PER_SECOND = 5.0
Source = Literal["metadata", "file"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RememberedVideo:
    """One video of a memory.

    Attributes:
        fingerprint: Of its frames; the name of its folder.
        path: The file, absolute, where it was last seen.
        recorded_at: When the recording began, with its time zone.
        recorded_from: Whether the file says so itself, or it is when the file was last changed.
        num_frames: Frames at 5 per second.
        size_hw: Height and width as shown, pixels.
        vectors: How many are kept.
        bytes: Of its vectors, points and frame numbers on disk.
        made_by: Digest of code, engine and precision.
        added_at: When it was remembered.
    """

    fingerprint: str
    path: Path
    recorded_at: datetime
    recorded_from: Source
    num_frames: int
    size_hw: tuple[int, int]
    vectors: int
    bytes: int
    made_by: str
    added_at: datetime

    @property
    def duration_s(self) -> float:
        """Seconds from its first frame to the end of its last one, at 5 frames per second."""
        return self.num_frames / FRAMES_PER_SECOND


@dataclass(frozen=True, slots=True)
class KnownAnswer:
    """An answer that was given: its name, when, and the videos that it shows."""

    name: str
    asked_at: datetime
    videos: tuple[str, ...]


class Catalogue:
    """The tables of one memory; every call opens the file anew, so that none keeps it locked."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._open() as connection:
            connection.executescript(TABLES)

    def videos(self) -> list[RememberedVideo]:
        """All videos, the latest recording first."""
        with self._open() as connection:
            rows = connection.execute("SELECT * FROM videos").fetchall()
        found = [_video_of(row) for row in rows]
        return sorted(found, key=lambda v: (v.recorded_at, v.fingerprint), reverse=True)

    def put(self, videos: Sequence[RememberedVideo]) -> None:
        """Enter videos; an older entry of the same fingerprint goes, and failures of the paths."""
        rows = [_row_of(video) for video in videos]
        with self._open() as connection, connection:
            connection.executemany(
                f"INSERT OR REPLACE INTO videos VALUES ({', '.join('?' * 11)})", rows
            )
            paths = [(str(video.path),) for video in videos]
            connection.executemany("DELETE FROM failures WHERE path = ?", paths)

    def drop(self, fingerprints: Sequence[str]) -> None:
        """Leave out videos."""
        with self._open() as connection, connection:
            keys = [(fingerprint,) for fingerprint in fingerprints]
            connection.executemany("DELETE FROM videos WHERE fingerprint = ?", keys)

    def failures(self) -> dict[Path, str]:
        """Why files could not be remembered, by path."""
        with self._open() as connection:
            rows = connection.execute("SELECT path, reason FROM failures ORDER BY path").fetchall()
        return {Path(row["path"]): row["reason"] for row in rows}

    def put_failure(self, path: Path, reason: str) -> None:
        """Note why a file could not be remembered."""
        with self._open() as connection, connection:
            row = (str(path), reason, _now())
            connection.execute("INSERT OR REPLACE INTO failures VALUES (?, ?, ?)", row)

    def drop_failure(self, path: Path) -> None:
        """Forget that a file could not be remembered."""
        with self._open() as connection, connection:
            connection.execute("DELETE FROM failures WHERE path = ?", (str(path),))

    def answers(self) -> list[KnownAnswer]:
        """All answers, the latest first."""
        with self._open() as connection:
            rows = connection.execute("SELECT * FROM answers ORDER BY asked_at DESC").fetchall()
        return [
            KnownAnswer(r["answer"], datetime.fromisoformat(r["asked_at"]), _split(r["videos"]))
            for r in rows
        ]

    def put_answers(self, answers: Sequence[KnownAnswer]) -> None:
        """Enter answers."""
        rows = [(a.name, a.asked_at.isoformat(), " ".join(a.videos)) for a in answers]
        with self._open() as connection, connection:
            connection.executemany("INSERT OR REPLACE INTO answers VALUES (?, ?, ?)", rows)

    def drop_answers(self, names: Sequence[str]) -> None:
        """Leave out answers."""
        with self._open() as connection, connection:
            keys = [(name,) for name in names]
            connection.executemany("DELETE FROM answers WHERE answer = ?", keys)

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(self.path, timeout=WAIT_SECONDS)) as connection:
                connection.row_factory = sqlite3.Row
                yield connection
        except sqlite3.DatabaseError as err:
            raise DataError(
                f"the catalogue {self.path} cannot be used ({err}); if it is damaged, remove it: "
                "it is made anew from the videos' folders"
            ) from err


def _split(names: str) -> tuple[str, ...]:
    return tuple(names.split())


def _now() -> str:
    return datetime.now(timezone.utc).isoformat()


def _row_of(video: RememberedVideo) -> tuple[str | int, ...]:
    return (
        video.fingerprint,
        str(video.path),
        video.recorded_at.isoformat(),
        video.recorded_from,
        video.num_frames,
        *video.size_hw,
        video.vectors,
        video.bytes,
        video.made_by,
        video.added_at.isoformat(),
    )


def _video_of(row: sqlite3.Row) -> RememberedVideo:
    return RememberedVideo(
        fingerprint=row["fingerprint"],
        path=Path(row["path"]),
        recorded_at=datetime.fromisoformat(row["recorded_at"]),
        recorded_from=row["recorded_from"],
        num_frames=row["num_frames"],
        size_hw=(row["height"], row["width"]),
        vectors=row["vectors"],
        bytes=row["bytes"],
        made_by=row["made_by"],
        added_at=datetime.fromisoformat(row["added_at"]),
    )
