"""Add videos to a memory, so that they can be asked many times; what is known is skipped."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from ren_core.engine.choice import Compute
from ren_core.errors import ConfigError
from ren_core.executor.base import Item, Pool
from ren_core.executor.options import HERE, chosen_executor
from ren_core.progress import events_to, tqdm
from vq2d.commands.parsers import COMMANDS
from vq2d.commands.shared import (
    about,
    chosen_config,
    chosen_preset,
    forget_old,
    run_command,
    wished_compute,
)
from vq2d.job.remembering import (
    Made,
    Rememberer,
    RemembererRecipe,
    Wanted,
    making_code,
)
from vq2d.localize.build import build_localizer
from vq2d.memory.memory import Memory, open_store, remembering
from vq2d.memory.store import Store
from vq2d.video.files import VIDEO_ENDINGS, videos_in

UNITS = {"h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}


def main(argv: Sequence[str] | None = None) -> int:
    """Remember; 0 all is known now, 1 some file failed, 2 usage."""
    args = COMMANDS["remember"].parser("vq2d remember").parse_args(argv)
    return run_command("remember", argv, args, run)


def run(args: argparse.Namespace, command: str) -> int:
    """Do what the command line asks; the exit code."""
    del command
    paths = list(dict.fromkeys(find_videos(args.paths, args.memory.absolute())))
    forget_after_s = None if args.forget_after is None else seconds_of(args.forget_after)
    if args.preset is None and Store.is_in(args.memory):
        args.preset = Store(args.memory).settings.model_name
    executor = chosen_executor(args)
    is_here = args.executor == HERE
    if is_here:
        name, config, compute = chosen_config(args)
    else:  # this process loads the model to know it, and computes nothing
        name, config = chosen_preset(args)
        compute = Compute()
    config = remembering(config)
    localizer = build_localizer(config, compute)
    store = open_store(args.memory, localizer, name)
    if args.forget_after is not None:
        store.configure(replace(store.settings, forget_after_s=forget_after_s))
    events_to(store.folder / "events.jsonl")
    forget_old(store)
    memory = Memory(store, localizer, reader=args.reader)
    rememberer = Rememberer(memory)
    recipe = RemembererRecipe(
        folder=store.folder,
        config=config,
        compute=wished_compute(args, config),
        reader=args.reader,
    )
    build = (lambda: rememberer) if is_here else recipe
    with executor.open(build, shared=store.making, expected=making_code()) as pool:
        failed = add_all(memory, pool, paths)
    print(total_line(store))
    return 1 if failed else 0


def add_all(memory: Memory, pool: Pool[Wanted, Made], paths: Sequence[Path]) -> int:
    """Remember files, those that another process is making last; how many failed."""
    left, failed = list(paths), 0
    with tqdm(desc="frames", unit="frame", disable=None) as bar:
        for wait in (False, True):
            items = [item_of(path, wait=wait) for path in left]
            by_name = {item.name: path for item, path in zip(items, left, strict=True)}
            left = []
            for done in pool.map(items, lambda _, count: bar.update(count)):
                path = by_name[done.item.name]
                made = done.result or Made(None, done.lost)
                if made.video is None and not made.reason and not wait:
                    left.append(path)
                else:
                    failed += bool(made.reason)
                    tqdm.write(entered(memory, path, made))
    return failed


def item_of(path: Path, *, wait: bool) -> Item[Wanted]:
    """A file as a piece of work; the larger, the longer it takes."""
    absolute = path.expanduser().absolute()
    size = absolute.stat().st_size if absolute.is_file() else 0
    return Item(str(path), size, Wanted(absolute, wait))


def entered(memory: Memory, path: Path, made: Made) -> str:
    """Let the catalogue know what became of a file; one line about it."""
    catalogue = memory.store.catalogue
    if made.reason:
        catalogue.put_failure(path.absolute(), made.reason)
        return f"failed      {about(path, made.reason)}"
    if made.video is None:
        return f"too old     {path}: recorded before the memory's time to forget"
    is_known = made.video.fingerprint in {video.fingerprint for video in memory.videos()}
    video = memory.enter(made.video, path.expanduser().absolute())
    catalogue.drop_failure(path.absolute())
    return f"{'known' if is_known else 'remembered':<12}{path}: {video.duration_s:.1f} s"


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
