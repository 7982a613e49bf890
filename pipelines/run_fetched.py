"""Answer a split whose clips do not fit on the disk: fetch a shard, answer it, delete it, go on.

Every shard leaves part.json and its pictures; the last step merges the parts to submission.json.
Given again, the command goes on where it was. What follows `--` goes to `vq2d run`.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import sys
from collections.abc import Sequence
from pathlib import Path

from ren_core.command import exit_code
from ren_core.errors import DataError
from vq2d.commands import merge, run
from vq2d.commands.shared import annotations_of
from vq2d.ego4d.annotations import FILE_NAMES, Annotations
from vq2d.ego4d.clips import clip_file
from vq2d.ego4d.fetch import fetch_clips
from vq2d.ego4d.parts import shard_of

logger = logging.getLogger("run_fetched")


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--data", type=Path, required=True, help="output directory of the ego4d CLI"
    )
    parser.add_argument("--split", choices=tuple(FILE_NAMES), default="val", help="default: val")
    parser.add_argument("--out", type=Path, required=True, help="folder of parts and submission")
    parser.add_argument(
        "--budget-gb",
        type=float,
        required=True,
        metavar="GB",
        help="so many GB of clips may lie on the disk at a time",
    )
    parser.add_argument(
        "--gb-per-clip",
        type=float,
        default=0.5,
        metavar="GB",
        help="what a clip takes, to divide the split into shards; a shard that turns out larger "
        "than the budget stops the run (0.5)",
    )
    parser.add_argument(
        "others", nargs="*", metavar="-- OPTION", help="options of vq2d run, after two dashes"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Fetch, answer, delete, merge; 0 done, 1 something failed, 2 usage."""
    args = build_parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    return exit_code(lambda: answer_all(args))


def answer_all(args: argparse.Namespace) -> int:
    """All shards, then the submission; 0 if it is valid and no query failed."""
    annotations = annotations_of(args.data, args.split)
    clips = [clip for clip in annotations.clips if clip.queries]
    count = max(1, math.ceil(len(clips) * args.gb_per_clip / args.budget_gb))
    folders = [args.out / f"shard-{i}-of-{count}" for i in range(1, count + 1)]
    for number, folder in enumerate(folders, start=1):
        if is_done(folder):
            logger.info("shard %d of %d is done", number, count)
            continue
        fetched = fetch(annotations, args, number, count)
        try:
            run.main(
                [
                    *("--data", str(args.data), "--split", args.split, "--out", str(folder)),
                    *("--shard", f"{number}/{count}", *args.others),
                ]
            )
        finally:
            for path in fetched:
                path.unlink(missing_ok=True)
    parts = [str(folder / "part.json") for folder in folders]
    target = str(args.out / "submission.json")
    code = merge.main([*parts, "--annotations", str(annotations.path), "--out", target])
    failed = [folder for folder in folders if not is_done(folder)]
    if failed:
        print(f"{len(failed)} shards have failures, see {failed[0] / 'failures.json'}")
    return code or int(bool(failed))


def is_done(folder: Path) -> bool:
    """Whether a shard was answered without a failure."""
    failures = folder / "failures.json"
    if not (folder / "part.json").is_file() or not failures.is_file():
        return False
    return not json.loads(failures.read_text())


def fetch(
    annotations: Annotations, args: argparse.Namespace, number: int, count: int
) -> list[Path]:
    """Fetch the clips of a shard that are not there; the files that came.

    Raises:
        DataError: If the fetch fails, or takes more than the budget.
    """
    wanted = [
        clip
        for clip in shard_of(annotations, number, count)
        if clip.queries and clip.clip_uid is not None and clip_file(args.data, clip) is None
    ]
    if not wanted:
        return []
    logger.info("shard %d of %d: fetching %d clips", number, count, len(wanted))
    fetch_clips(args.data, [str(clip.clip_uid) for clip in wanted])
    found = [clip_file(args.data, clip) for clip in wanted]
    paths = [path for path in found if path is not None]
    size_gb = sum(path.stat().st_size for path in paths) / 1e9
    if size_gb > args.budget_gb:
        for path in paths:
            path.unlink()
        raise DataError(
            f"the {len(paths)} clips of shard {number} of {count} take {size_gb:.3g} GB, more than "
            f"--budget-gb {args.budget_gb:g}; give --gb-per-clip {1.2 * size_gb / len(paths):.2g}"
        )
    return paths


if __name__ == "__main__":
    sys.exit(main())
