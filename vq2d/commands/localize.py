"""Find where an object was last seen in your own video, by pictures of it or a box at a moment."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from ren_core.progress import events_to, tqdm
from vq2d.commands.options import check_query_box, four_numbers
from vq2d.commands.parsers import COMMANDS
from vq2d.commands.shared import chosen_localizer, run_command, write_config
from vq2d.job.own_video import (
    FPS,
    Asked,
    ask_by_moment,
    ask_by_pictures,
    localize_in,
)
from vq2d.localize.belief import doubt_about
from vq2d.localize.saved import save_localization
from vq2d.show.answer import draw_answer
from vq2d.show.page import write_index
from vq2d.show.view import clock, view_of_own
from vq2d.types import Localization
from vq2d.video.frames import VideoFrames, open_video

NOT_THERE = 3
"""Exit code if the object is probably not in the video."""


def main(argv: Sequence[str] | None = None) -> int:
    """Ask, search, draw; 0 an answer, 1 failed, 2 usage, 3 probably not there (a guess or none)."""
    parser = COMMANDS["localize"].parser("vq2d localize")
    args = parser.parse_args(argv)
    if (args.at is None) != (args.box is None):
        parser.error("--at and --box belong together")
    check_query_box(parser, args)
    return run_command("localize", argv, args, run)


def run(args: argparse.Namespace, command: str) -> int:
    """Do what the command line asks; the exit code."""
    frames = open_video(args.video, FPS, reader=args.reader)
    asked = ask(args, frames)
    name, localizer = chosen_localizer(args)
    out = args.out or Path("runs") / f"localize-{args.video.stem}"
    config, networks = localizer.config, localizer.networks
    write_config(args, out, preset=name, command=command, config=config, networks=networks)
    events_to(out / "events.jsonl")
    with tqdm(total=asked.question.search_end, desc="tokens", unit="frame", disable=None) as bar:
        found = localize_in(
            frames,
            asked.question,
            localizer,
            cache=args.cache,
            on_frames=bar.update,
            keep_tokens_of=args.keep_cache_of,
        )
    save_localization(out / "answer.json", found)
    if found.held:
        where = ", ".join(f"{clock(f.start)} to {clock(f.stop - 1)}" for f in found.held)
        lost = sum(len(frames) for frames in found.held)
        print(f"damaged: {lost} frames cannot be decoded ({where}); the last good one stood in")
    own = found.scores.own
    if own is not None:
        print(
            f"excluded: {clock(own.start)} to {clock(own.stop - 1)}, the occurrence that "
            "--at and --box point at"
        )
    why = doubt_about(found, localizer.config)
    doubt = "" if why is None else f"probably not {sought_in(asked)}: {why}"
    if found.track is None:
        print(doubt)
        return NOT_THERE
    print(answer_line(found, doubt))
    title = args.video.name + (", only a guess" if doubt else "")
    page = out / "index.html"
    card = draw_answer(view_of_own(asked, frames, found, title), out / "answer", doubt=doubt)
    write_index(
        [card], page, title="Where was it last seen?", figures={}, preset=name, command=command
    )
    print(f"pictures    {page}")
    return NOT_THERE if doubt else 0


def ask(args: argparse.Namespace, frames: VideoFrames) -> Asked:
    """The question that the command line puts."""
    if args.query is not None:
        box = None if args.query_box is None else four_numbers("--query-box", args.query_box)
        return ask_by_pictures(frames, args.query, args.until, box_xywh=box)
    return ask_by_moment(frames, args.at, four_numbers("--box", args.box), args.until)


def sought_in(asked: Asked) -> str:
    """Where the object should be, in words that follow a "not"."""
    return "in this video" if asked.question.crop_frame is None else "seen again"


def answer_line(found: Localization, doubt: str) -> str:
    """Where and when, in words; after the doubt, if there is one."""
    track = found.track
    assert track is not None
    first, last = track.start_frame, track.end_frame - 1
    box = [round(float(v)) for v in track.boxes_xyxy[-1]]
    beginning = f"{doubt}\nbest guess" if doubt else "last seen"
    return (
        f"{beginning} from {clock(first)} to {clock(last)}, {how_sure(found)}; "
        f"in its last frame at x {box[0]}..{box[2]}, y {box[1]}..{box[3]}"
    )


def how_sure(found: Localization) -> str:
    """The probability that the video shows the object, or the answer's score without one."""
    assert found.track is not None
    if found.present is None:
        return f"score {found.track.score:.3f}"
    return f"there with a probability of {found.present:.2f}"
