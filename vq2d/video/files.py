"""Which files are videos, by their names."""

from __future__ import annotations

from pathlib import Path

VIDEO_ENDINGS = {
    ".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts",
    ".ts", ".webm", ".wmv",
}  # fmt: skip


def videos_in(folder: Path, besides: Path) -> list[Path]:
    """All videos in a folder and the folders in it, sorted, but for those in ``besides``."""
    return [
        file
        for file in sorted(folder.rglob("*"))
        if file.suffix.lower() in VIDEO_ENDINGS
        and file.is_file()
        and besides not in file.absolute().parents
    ]
