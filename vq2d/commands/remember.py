"""Add videos to a memory, so that they can be asked many times; what is known is skipped."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

from tqdm import tqdm

from ren_core.errors import ConfigError
from vq2d.commands.shared import (
    about,
    add_preset_options,
    chosen_config,
    forget_old,
    run_command,
)
from vq2d.job.task import FaultWatch
from vq2d.localize.build import build_localizer
from vq2d.memory.memory import Memory, open_store, remembering
from vq2d.memory.store import Store
from vq2d.video.files import VIDEO_ENDINGS, videos_in
from vq2d.video.readers import ReaderName

UNITS = {"h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("paths", type=Path, nargs="+", help="videos, and folders of videos")
    parser.add_argument("--memory", type=Path, required=True, help="folder of the memory")
    parser.add_argument(
        "--forget-after",
        metavar="TIME",
        help="remove recordings older than this from now on, such as 30d, 12h or 8w; never: keep "
        "all",
    )
    parser.add_argument(
        "--reader", choices=get_args(ReaderName), default="av", help="what decodes videos (av)"
    )
    add_preset_options(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Remember; 0 all is known now, 1 some file failed, 2 usage."""
    args = build_parser().parse_args(argv)
    return run_command("remember", argv, args, run)


def run(args: argparse.Namespace, command: str) -> int:
    """Do what the command line asks; the exit code."""
    del command
    paths = list(dict.fromkeys(find_videos(args.paths, args.memory.absolute())))
    forget_after_s = None if args.forget_after is None else seconds_of(args.forget_after)
    if args.preset is None and Store.is_in(args.memory):
        args.preset = Store(args.memory).settings.model_name
    name, config, compute = chosen_config(args)
    localizer = build_localizer(remembering(config), compute)
    store = open_store(args.memory, localizer, name)
    if args.forget_after is not None:
        store.configure(replace(store.settings, forget_after_s=forget_after_s))
    forget_old(store)
    failed = add_all(Memory(store, localizer, reader=args.reader), paths)
    print(total_line(store))
    return 1 if failed else 0


def add_all(memory: Memory, paths: Sequence[Path]) -> int:
    """Remember files one by one, those that another process is making last; how many failed."""
    catalogue, faults, failed = memory.store.catalogue, FaultWatch(), 0
    left = [(path, False) for path in paths]
    with tqdm(desc="frames", unit="frame", disable=None) as bar:
        for path, wait in left:
            known = {video.fingerprint for video in memory.videos()}
            reasons: list[str] = []
            video = None
            with faults.guard(reasons.append, str(path)):
                video = memory.add(path, bar.update, wait=wait)
            if reasons:
                failed += 1
                catalogue.put_failure(path.absolute(), reasons[0])
                tqdm.write(f"failed      {about(path, reasons[0])}")
            elif video is None and not wait:
                left.append((path, True))
            elif video is None:
                tqdm.write(f"too old     {path}: recorded before the memory's time to forget")
            else:
                state = "known" if video.fingerprint in known else "remembered"
                catalogue.drop_failure(path.absolute())
                tqdm.write(f"{state:<12}{path}: {video.duration_s:.1f} s")
    return failed


def find_videos(paths: Sequence[Path], memory: Path) -> Iterator[Path]:
    """The files as given, and all videos in the folders, sorted; nothing of the memory itself.

    Raises:
        ConfigError: If a path does not exist, or a folder holds no video.
    """
    for path in paths:
        if path.is_dir():
            inside = videos_in(path, besides=memory)
            if not inside:
                raise ConfigError(
                    f"{path} holds no video (a file that ends in one of "
                    f"{' '.join(sorted(VIDEO_ENDINGS))}); name the files one by one"
                )
            yield from inside
        elif path.exists():
            yield path
        else:
            raise ConfigError(f"{path} does not exist; give videos or folders of videos")


def seconds_of(text: str) -> float | None:
    """Seconds of a time such as ``30d``; None for ``never``.

    >>> seconds_of("12h")
    43200.0
    """
    if text == "never":
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([hdw])", text)
    if found is None or float(found[1]) <= 0:
        raise ConfigError(
            f"--forget-after needs a number above 0 with h, d or w, such as 30d, or never; "
            f"got {text!r}"
        )
    return float(found[1]) * UNITS[found[2]]


def total_line(store: Store) -> str:
    """What a memory holds, in one line."""
    videos = store.videos()
    hours = sum(video.duration_s for video in videos) / 3600
    size = sum(video.bytes for video in videos) / 1e6
    return f"memory      {store.folder}: {len(videos)} videos, {hours:.2f} h, {size:.1f} MB"
