"""Ask photographs of things of clips that cannot show them: how often are they said to be there?

    python pipelines/run_photographs.py --pictures ../shared/data/eval/grocery

Each picture is asked of one clip, the clips taking turns; what fills the picture is the thing. The
queries of the same clips say what the same models find of things that are there. Only pictures
of things that no clip of the sets shows are of use: groceries and ``holdout`` do not go together.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from pipelines.shared.figures import (
    CHOOSING,
    PRESENCE_ONLY,
    DataSet,
    add_roots,
    answerer_of,
    find_set,
)
from ren_core.errors import ConfigError, DataError
from ren_core.progress import tqdm
from ren_core.stages import digest, file_fingerprint, open_stage, write_json
from vq2d.commands.options import add_model_options
from vq2d.commands.shared import chosen_localizer, run_command, write_config
from vq2d.job.absence import load_absence, present_pairs
from vq2d.job.answerer import Answerer
from vq2d.job.asking import ask_pairs, found_for
from vq2d.localize.belief import BELIEVED
from vq2d.localize.views import views_of_pictures
from vq2d.scoring.presence import AskedRow
from vq2d.types import Question
from vq2d.video.frames import VideoFrames

SETS = [name for name in (*CHOOSING, *PRESENCE_ONLY) if name != "holdout"]
KINDS = (".jpg", ".jpeg", ".png", ".webp")


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pictures", type=Path, required=True, help="folder of photographs")
    parser.add_argument(
        "--sets", nargs="+", default=SETS, help=f"sets whose clips are asked ({' '.join(SETS)})"
    )
    add_roots(parser)
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("runs/photographs"),
        help="folder of results (runs/photographs)",
    )
    add_model_options(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Ask; 0 done, 1 something failed or is missing, 2 usage."""
    args = build_parser().parse_args(argv)
    return run_command("run_photographs", argv, args, run)


def run(args: argparse.Namespace, command: str) -> int:
    """Do what the command line asks; the exit code."""
    pictures = sorted(p for p in args.pictures.rglob("*") if p.suffix.lower() in KINDS)
    if not pictures:
        raise ConfigError(f"no pictures ({' '.join(KINDS)}) under {args.pictures}")
    sets = [sought_set(name, args.roots) for name in args.sets]
    preset, localizer = chosen_localizer(args)
    config, networks = localizer.config, localizer.networks
    write_config(args, args.out, preset=preset, command=command, config=config, networks=networks)
    count = sum(len(data.annotations.clips) for data in sets)
    turns = iter(range(count))
    absent: list[AskedRow] = []
    present: list[AskedRow] = []
    for data in sets:
        keep = args.keep_cache_of
        answerer = answerer_of(data, localizer, cache=args.cache, keep_tokens_of=keep)
        assert data.absence_file is not None
        pairs = present_pairs(load_absence(data.absence_file), data.annotations)
        present += ask_pairs(answerer, pairs).rows
        for clip in data.annotations.clips:
            own = pictures[next(turns) :: count]
            absent += ask_pictures(answerer, answerer.files.frames(clip), own)
    write_json(args.out / "present.json", [asdict(row) for row in present])
    write_json(args.out / "absent.json", [asdict(row) for row in absent])
    print_shares(present, absent)
    return 0


def sought_set(name: str, roots: Sequence[Path]) -> DataSet:
    """A set with a list of what its clips show.

    Raises:
        DataError: If there is none.
    """
    data = find_set(name, roots)
    if data is None or data.absence_file is None:
        raise DataError(f"no set {name} under {', '.join(map(str, roots))}; `make sets` renders it")
    return data


def ask_pictures(
    answerer: Answerer, frames: VideoFrames, pictures: Sequence[Path]
) -> list[AskedRow]:
    """What the whole of a clip has of the things in some pictures; kept on disk."""
    stage = open_stage(
        answerer.answers_dir.parent,
        "photographs",
        {},
        upstream=[answerer.answers_dir.name],
        code=__name__,
    )
    named = digest([file_fingerprint(picture) for picture in pictures])
    path = stage / frames.fingerprint / f"{named}.json"
    if not path.is_file():
        with answerer.kept.using(frames.fingerprint):
            rows = [asdict(row) for row in _asked(answerer, frames, pictures)]
        write_json(path, rows)
    return [AskedRow(**row) for row in json.loads(path.read_text())]


def _asked(answerer: Answerer, frames: VideoFrames, pictures: Sequence[Path]) -> list[AskedRow]:
    chunks = answerer.tokens_of(frames, len(frames))
    rows = []
    for picture in tqdm(pictures, desc=frames.path.stem[:8], unit="picture", disable=None):
        question = Question(views_of_pictures([picture]), len(frames), None)
        found = found_for(answerer.localizer, question, frames, chunks)
        rows.append(
            AskedRow(query=str(picture), clip_uid=frames.path.stem, kind="other", **found)  # type: ignore[arg-type]
        )
    return rows


def print_shares(present: Sequence[AskedRow], absent: Sequence[AskedRow]) -> None:
    """How many are said to be there, and which absent ones most."""
    there, not_there = (
        np.array([row.value("present") for row in rows]) for rows in (present, absent)
    )
    print(
        f"said to be there: {(not_there >= BELIEVED).mean():.1%} of {len(absent)} photographs of "
        f"other things, {(there >= BELIEVED).mean():.1%} of {len(present)} things that are there"
    )
    for row in sorted(absent, key=lambda row: -row.value("present"))[:12]:
        print(f"  {row.value('present'):.2f} {row.clip_uid[:13]} {row.query}")


if __name__ == "__main__":
    raise SystemExit(main())
