"""List, check or remove what a memory holds; nothing of it ever leaves this machine."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from ren_core.command import exit_code
from ren_core.errors import ConfigError
from vq2d.commands.parsers import COMMANDS
from vq2d.commands.shared import about, forget_old
from vq2d.memory.catalogue import RememberedVideo
from vq2d.memory.store import Store


def main(argv: Sequence[str] | None = None) -> int:
    """Look after a memory; 0 done, 1 failed or something is wrong, 2 usage."""
    args = COMMANDS["memory"].parser("vq2d memory").parse_args(argv)
    actions = {"list": list_videos, "check": check, "remove": remove}

    def run() -> int:
        store = Store(args.memory)
        forget_old(store)
        return actions[args.action](store, args)

    return exit_code(run)


def list_videos(store: Store, args: argparse.Namespace) -> int:
    """Print the videos and the files that failed."""
    videos, failures = store.videos(), store.catalogue.failures()
    if args.json:
        print(json.dumps([as_json(video) for video in videos], indent=1))
        return 0
    for video in videos:
        known = "" if video.recorded_from == "metadata" else " (date of the file)"
        print(
            f"{video.fingerprint}  {video.recorded_at.astimezone():%Y-%m-%d %H:%M}{known}  "
            f"{video.duration_s:8.1f} s  {video.bytes / 1e6:7.1f} MB  {video.path}"
        )
    for path, reason in failures.items():
        print(f"failed      {about(path, reason)}")
    return 0


def check(store: Store, args: argparse.Namespace) -> int:
    """Print what is wrong."""
    del args
    problems = store.check()
    for video, reason in problems:
        print(f"{video.fingerprint}  {reason}")
    print(f"{len(store.videos())} videos, {len(problems)} problems")
    return 1 if problems else 0


def remove(store: Store, args: argparse.Namespace) -> int:
    """Delete videos."""
    chosen = [matching(store.videos(), text) for text in args.videos]
    store.remove([video.fingerprint for video in chosen])
    for video in chosen:
        print(f"removed     {video.path}")
    return 0


def matching(videos: Sequence[RememberedVideo], text: str) -> RememberedVideo:
    """The video with this path, file name or fingerprint.

    Raises:
        ConfigError: If there is none, or more than one.
    """
    path = Path(text).expanduser().absolute()
    found = [v for v in videos if text in (v.fingerprint, v.path.name) or v.path == path]
    if len(found) != 1:
        what = "no video" if not found else f"{len(found)} videos"
        raise ConfigError(
            f"the memory holds {what} called {text!r}; `vq2d memory list` shows what it holds, "
            "and the fingerprint of each"
        )
    return found[0]


def as_json(video: RememberedVideo) -> dict[str, object]:
    """A video as JSON types."""
    return {
        "fingerprint": video.fingerprint,
        "path": str(video.path),
        "recorded_at": video.recorded_at.isoformat(),
        "recorded_from": video.recorded_from,
        "duration_s": video.duration_s,
        "size_hw": list(video.size_hw),
        "vectors": video.vectors,
        "bytes": video.bytes,
        "added_at": video.added_at.isoformat(),
    }
