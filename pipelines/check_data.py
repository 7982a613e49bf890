"""Pre-flight check: what is there, what is missing, what a run costs, and how to fetch the rest."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ren_core.errors import DataError
from vq2d.annotations import FILE_NAMES, Annotations, Clip, annotation_path, load_annotations
from vq2d.timeline import Timeline
from vq2d.video import clip_file, clip_frames, read_timeline

ROWS_SHOWN = 50


@dataclass(frozen=True, slots=True)
class ClipReport:
    """What a run would find for one clip; ``num_frames`` is an estimate where there is no file."""

    clip: Clip
    state: str  # "clip", "full_scale", "missing", "damaged" or "no uid"
    num_frames: int
    timeline: Timeline | None = None
    note: str = ""

    @property
    def is_needed(self) -> bool:
        """Whether the clip's file has to be fetched."""
        return self.state in ("missing", "damaged")


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--data", type=Path, required=True, help="output directory of the ego4d CLI"
    )
    parser.add_argument("--split", choices=tuple(FILE_NAMES), default="val", help="default: val")
    parser.add_argument("--limit", type=int, metavar="N", help="check only the first N clips")
    parser.add_argument("--all", action="store_true", help="list every clip, however many")
    parser.add_argument(
        "--write-uids", type=Path, metavar="FILE", help="write the uids to fetch to this file"
    )
    parser.add_argument(
        "--crops-per-frame", type=int, default=5, help="crops encoded per frame (default: 5)"
    )
    parser.add_argument(
        "--tokens-per-crop", type=int, default=40, help="region tokens per crop (default: 40)"
    )
    parser.add_argument(
        "--token-bytes", type=int, default=2048, help="bytes per token on disk (default: 2048)"
    )
    parser.add_argument(
        "--crops-per-second", type=float, help="encoding speed, to estimate the hours of a run"
    )
    return parser


def inspect_clip(root: Path, clip: Clip) -> ClipReport:
    """Find a clip's file and read its header."""
    path = clip_file(root, clip)
    if path is None:
        state = "missing" if clip.clip_uid is not None else "no uid"
        return ClipReport(clip, state, clip.num_frames if clip.clip_uid is not None else 0)
    try:
        timeline = read_timeline(path)
    except DataError as err:
        return ClipReport(clip, "damaged", clip.num_frames, note=str(err))
    num_frames = len(clip_frames(timeline, clip))
    lacking = clip.num_frames - num_frames
    note = f"{lacking} frames short of the annotation" if lacking > 1 else ""
    state = "clip" if path.parent.name == "clips" else "full_scale"
    return ClipReport(clip, state, num_frames, timeline, note)


def clip_table(reports: Sequence[ClipReport]) -> list[str]:
    """One aligned line per clip."""
    line = "{:<36}  {:>7}  {:<10}  {:>6}  {:>9}  {:>6}  {}"
    rows = [line.format("clip", "queries", "file", "fps", "size", "frames", "").rstrip()]
    for report in reports:
        timeline, clip = report.timeline, report.clip
        rate = f"{timeline.average_rate:.2f}" if timeline else "-"
        size = f"{timeline.size_hw[1]}x{timeline.size_hw[0]}" if timeline else "-"
        uid = clip.clip_uid or f"(null, of {clip.video_uid[:8]})"
        cells = (uid, len(clip.queries), report.state, rate, size, report.num_frames, report.note)
        rows.append(line.format(*cells).rstrip())
    return rows


def cost_table(reports: Sequence[ClipReport], args: argparse.Namespace) -> list[str]:
    """What stage 1, the token cache, takes."""
    frames = sum(report.num_frames for report in reports)
    crops = frames * args.crops_per_frame
    size = crops * args.tokens_per_crop * args.token_bytes
    rows = [
        f"frames at 5 fps  {frames:>14,}",
        f"crops            {crops:>14,}  ({args.crops_per_frame} per frame)",
        f"token cache      {size / 1e9:>11,.2f} GB  "
        f"({args.tokens_per_crop} tokens of {args.token_bytes} bytes per crop)",
    ]
    if args.crops_per_second:
        hours = crops / args.crops_per_second / 3600
        rows.append(f"encoding         {hours:>11,.2f} h   ({args.crops_per_second:g} crops/s)")
    return rows


def fetch_command(root: Path, uid_file: Path | None) -> str:
    """The ego4d call that gets the missing clips; files already there are skipped by it."""
    wanted = f"--video_uid_file {uid_file}" if uid_file else "--benchmarks VQ"
    return f"ego4d --output_directory={root} --datasets clips {wanted} --version v2 -y"


def summary(annotations: Annotations, reports: Sequence[ClipReport]) -> list[str]:
    """Counts of queries, damaged annotations and clip states."""
    queries = sum(len(report.clip.queries) for report in reports)
    states = Counter(report.state for report in reports)
    rows = [
        f"annotations      {annotations.path} (version {annotations.version or 'not given'})",
        f"queries          {queries} in {len(reports)} clips",
        "files            " + ", ".join(f"{state}: {count}" for state, count in states.items()),
    ]
    rows += [f"left out         {problem}" for problem in annotations.problems]
    return rows


def main(argv: Sequence[str] | None = None) -> int:
    """Print the report; 0 if all files are there, 1 if something is missing, 2 for bad usage."""
    args = build_parser().parse_args(argv)
    try:
        annotations = load_annotations(annotation_path(args.data, args.split))
    except DataError as err:
        print(err, file=sys.stderr)
        return 1
    reports = [inspect_clip(args.data, clip) for clip in annotations.clips[: args.limit]]

    notable = [r for r in reports if r.note or r.state in ("missing", "damaged", "no uid")]
    shown = reports if args.all or len(reports) <= ROWS_SHOWN else notable
    rows = [*clip_table(shown), ""] if shown else []
    print("\n".join([*rows, *summary(annotations, reports), *cost_table(reports, args)]))

    uids = [str(report.clip.clip_uid) for report in reports if report.is_needed]
    if args.write_uids:
        args.write_uids.write_text("".join(f"{uid}\n" for uid in uids))
    if not uids:
        print("complete         every clip of the split can be read")
        return 0
    print(f"fetch {len(uids)} clips:\n  {fetch_command(args.data, args.write_uids)}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
