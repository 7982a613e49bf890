"""Ask a memory where an object was last seen, by pictures of it or a box at a moment of a video."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from ren_core.errors import ConfigError
from ren_core.stages import write_json
from vq2d.commands.options import (
    check_query_box,
    four_numbers,
)
from vq2d.commands.parsers import COMMANDS
from vq2d.commands.shared import forget_old, opened_memory, run_command
from vq2d.job.own_video import ask_by_moment
from vq2d.localize.belief import doubt_about
from vq2d.localize.views import views_of_pictures
from vq2d.memory.ask import MemoryQuestion, Sighting
from vq2d.memory.exporting import export_track
from vq2d.memory.exports import EXPORTS
from vq2d.memory.memory import Memory
from vq2d.memory.store import Store
from vq2d.show.answer import draw_answer
from vq2d.show.page import write_index
from vq2d.show.view import AnswerView, clock, view_of
from vq2d.types import QueryKey, VisualQuery
from vq2d.video.frames import open_video

WITH_MASKS = {"coco", "fiftyone"}
"""The exports that hold masks."""


def main(argv: Sequence[str] | None = None) -> int:
    """Ask; 0 an answer or a guess, 1 failed or nothing found, 2 usage."""
    parser = COMMANDS["ask"].parser("vq2d ask")
    args = parser.parse_args(argv)
    if (args.video is None) != (args.at is None) or (args.at is None) != (args.box is None):
        parser.error("--video, --at and --box belong together")
    check_query_box(parser, args)
    if args.export and args.out is None:
        parser.error("--export writes into --out, which is missing")
    return run_command("ask", argv, args, run)


def run(args: argparse.Namespace, command: str) -> int:
    """Do what the command line asks; the exit code."""
    before = None if args.before is None else moment(args.before)
    store = Store(args.memory)
    forget_old(store)
    if not store.videos():
        print(f"{store.folder} holds no video yet; add some with `vq2d remember`", file=sys.stderr)
        return 1
    question = question_of(args, store)
    name, memory = opened_memory(args, store, reader=args.reader)

    found: list[Sighting] = []
    for sighting in memory.ask(question, before, args.top):
        print(line_of(sighting, is_first=not found))
        found.append(sighting)
    if not found:
        print("not found: no candidate was good enough")
    if args.json is not None:
        write_json(args.json, [as_json(sighting) for sighting in found])
    if args.out is not None:
        write_out(args, memory, question, found, preset=name, command=command)
    return 0 if found else 1


def question_of(args: argparse.Namespace, store: Store) -> MemoryQuestion:
    """The question that the command line puts."""
    if args.query is not None:
        box = None if args.query_box is None else four_numbers("--query-box", args.query_box)
        return MemoryQuestion(views_of_pictures(args.query, box))
    known = {video.path.name: video.path for video in reversed(store.videos())}
    path = Path(args.video).expanduser()
    frames = open_video(path if path.exists() else known.get(args.video, path), reader=args.reader)
    asked = ask_by_moment(frames, args.at, four_numbers("--box", args.box), None).question
    assert asked.crop_frame is not None
    return MemoryQuestion(asked.views, (frames.fingerprint, asked.crop_frame))


def moment(text: str) -> datetime:
    """A date, or a date and a time; without a zone, in that of this machine.

    Raises:
        ConfigError: If it is none.
    """
    try:
        return datetime.fromisoformat(text).astimezone()
    except ValueError as err:
        raise ConfigError(f"--before needs a time such as 2026-11-20T18:00, got {text!r}") from err


def line_of(sighting: Sighting, *, is_first: bool) -> str:
    """When, in which video and where, in words."""
    last = sighting.end_frame - 1
    box = [round(float(v)) for v in sighting.boxes_xyxy[-1]]
    beginning = "last seen" if is_first else "before"
    beginning = beginning if sighting.believed else f"{beginning} (a guess)"
    return (
        f"{beginning:<12}{sighting.last_seen_at.astimezone():%Y-%m-%d %H:%M:%S}  "
        f"{sighting.video.path.name}, {clock(sighting.first_frame)} to {clock(last)}, "
        f"score {sighting.score:.3f}; in its last frame at x {box[0]}..{box[2]}, "
        f"y {box[1]}..{box[3]}"
    )


def as_json(sighting: Sighting) -> dict[str, object]:
    """A sighting as JSON types; boxes are those of frames at 5 per second."""
    return {
        "video": str(sighting.video.path),
        "fingerprint": sighting.video.fingerprint,
        "recorded_at": sighting.video.recorded_at.isoformat(),
        "last_seen_at": sighting.last_seen_at.isoformat(),
        "start_s": sighting.start_s,
        "end_s": sighting.end_s,
        "present": sighting.present,
        "believed": sighting.believed,
        "score": sighting.score,
        "size_hw": list(sighting.video.size_hw),
        "fps": 5,
        "first_frame": sighting.first_frame,
        "boxes_xyxy": sighting.boxes_xyxy.astype(float).tolist(),
    }


def write_out(
    args: argparse.Namespace,
    memory: Memory,
    question: MemoryQuestion,
    found: Sequence[Sighting],
    *,
    preset: str,
    command: str,
) -> None:
    """The page with pictures of every sighting, and the exports."""
    cards = []
    for i, sighting in enumerate(found):
        why = doubt_about(sighting.found, memory.localizer.config)
        doubt = "" if why is None else f"only a guess: {why}"
        view = view_of_sighting(sighting, question)
        cards.append(draw_answer(view, args.out / f"sighting{i + 1}", doubt=doubt))
    page = args.out / "index.html"
    title = "Where was it last seen?"
    write_index(cards, page, title=title, figures={}, preset=preset, command=command)
    print(f"pictures    {page}")
    for name in args.export:
        segmenter = memory.localizer.models.segmenter if name in WITH_MASKS else None
        tracks = [export_track(sighting, args.label, segmenter) for sighting in found]
        for path in EXPORTS[name](tracks, args.out / name):
            print(f"{name:<12}{path}")


def view_of_sighting(sighting: Sighting, question: MemoryQuestion) -> AnswerView:
    """What is drawn of one sighting."""
    frames, end = sighting.frames, len(sighting.frames)
    own = question.origin
    crop_frame = own[1] if own is not None and own[0] == sighting.video.fingerprint else None
    query = VisualQuery(
        key=QueryKey(0, 0, 0, "1"),
        query_frame=end,
        crop_frame=end if crop_frame is None else crop_frame,
        crop_box_xyxy=question.views[0].box_xyxy,
        original_size_hw=frames.size_hw,
    )
    when = f"{sighting.last_seen_at.astimezone():%Y-%m-%d %H:%M:%S}"
    title = f"{sighting.video.path.name}, {when}"
    view = view_of(query, frames, sighting.found, metrics={}, title=title)
    return view if crop_frame is not None else replace(view, query_views=question.views)
