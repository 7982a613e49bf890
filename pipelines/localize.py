"""Find where an object was last seen in your own video, given its picture or a box at a moment."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from pipelines.vq2d_models import add_model_options, chosen_localizer, run_command
from ren_core.errors import ConfigError
from vq2d.own_video import FPS, Asked, ask_by_moment, ask_by_picture, localize_in
from vq2d.query_picture import clock
from vq2d.report_page import ReportEntry, write_index
from vq2d.results import save_localization
from vq2d.summary_plot import draw_summary
from vq2d.video import VideoFrames, open_video
from vq2d.visualize import draw_poster, draw_video


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("video", type=Path, help="a video of any rate and size")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--query", type=Path, metavar="IMAGE", help="a picture of the object")
    what.add_argument("--at", type=float, metavar="SECONDS", help="when the video shows it")
    parser.add_argument("--box", metavar="X,Y,W,H", help="where it is then, in pixels (with --at)")
    parser.add_argument("--until", type=float, metavar="SECONDS", help="search up to here (end)")
    parser.add_argument("--out", type=Path, help="folder of the results (runs/localize-VIDEO)")
    add_model_options(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Ask, search, draw; 0 found, 1 failed or nothing found, 2 usage."""
    parser = build_parser()
    args = parser.parse_args(argv)
    if (args.at is None) != (args.box is None):
        parser.error("--at and --box belong together")
    return run_command("localize", argv, args, run)


def run(args: argparse.Namespace, command: str) -> int:
    """Do what the command line asks; the exit code."""
    frames = open_video(args.video, FPS)
    asked = ask(args, frames)
    name, localizer = chosen_localizer(args)
    with tqdm(total=asked.question.search_end, desc="tokens", unit="frame", disable=None) as bar:
        found = localize_in(
            frames, asked.question, localizer, cache=args.cache, on_frames=bar.update
        )
    out = args.out or Path("runs") / f"localize-{args.video.stem}"
    save_localization(out / "answer.json", found)
    if found.track is None:
        print("not found: no candidate was good enough")
        return 1
    first, last = found.track.start_frame, found.track.end_frame - 1
    box = [round(float(v)) for v in found.track.boxes_xyxy[-1]]
    print(
        f"last seen from {clock(first)} to {clock(last)}, score {found.track.score:.3f}; "
        f"in its last frame at x {box[0]}..{box[2]}, y {box[1]}..{box[3]}"
    )

    view = asked.view(frames, found, args.video.name)
    files = [out / f"answer{end}" for end in (".png", ".jpg", ".mp4")]
    draw_summary(view, files[0])
    draw_poster(view, files[1])
    draw_video(view, files[2])
    entry = ReportEntry(
        title=args.video.name,
        status="unknown",
        summary=files[0],
        poster=files[1],
        video=files[2],
        score=found.track.score,
    )
    write_index(
        [entry],
        out / "index.html",
        title="Where was it last seen?",
        figures={},
        preset=name,
        command=command,
    )
    print(f"pictures    {out / 'index.html'}")
    return 0


def ask(args: argparse.Namespace, frames: VideoFrames) -> Asked:
    """The question that the command line puts."""
    if args.query is not None:
        return ask_by_picture(frames, args.query, args.until)
    try:
        numbers = json.loads(f"[{args.box}]")
    except json.JSONDecodeError:
        numbers = []
    if len(numbers) != 4:
        raise ConfigError(f"--box needs four numbers X,Y,W,H in pixels, got {args.box!r}")
    return ask_by_moment(frames, args.at, tuple(float(n) for n in numbers), args.until)


if __name__ == "__main__":
    sys.exit(main())
