"""Pre-flight check: what is there, what is missing, what a run costs, and how to fetch the rest."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ren_core.command import check_device, exit_code
from ren_core.engine.choice import Compute
from ren_core.errors import DataError
from vq2d.commands.parsers import COMMANDS
from vq2d.commands.shared import annotations_of, chosen_config
from vq2d.ego4d.annotations import Annotations, Clip
from vq2d.ego4d.clips import clip_file, clip_frames
from vq2d.job import estimate
from vq2d.localize.build import build_token_encoder
from vq2d.localize.presets import VQ2DConfig
from vq2d.video.index import read_timeline
from vq2d.video.timeline import Timeline

ROWS_SHOWN = 50
FRAME_HW = (1080, 1440)  # where no file says another size


@dataclass(frozen=True, slots=True)
class ClipReport:
    """What a run would find for one clip; ``num_frames`` is an estimate where there is no file."""

    clip: Clip
    state: str  # "clip", "full_scale", "missing" or "damaged"
    num_frames: int
    timeline: Timeline | None = None
    note: str = ""

    @property
    def is_needed(self) -> bool:
        """Whether a run would fail for want of the clip: one without queries is not read."""
        return self.state in ("missing", "damaged") and bool(self.clip.queries)

    @property
    def searched(self) -> estimate.SearchedClip:
        """What a run would search of the clip."""
        ends = [query.query_frame for query in self.clip.queries]
        return estimate.SearchedClip(self.num_frames, max(ends, default=0))


def inspect_clip(root: Path, clip: Clip) -> ClipReport:
    """Find a clip's file and read its header."""
    path = clip_file(root, clip)
    if path is None:
        note = "" if clip.clip_uid else "can only be cut from its full-scale video"
        return ClipReport(clip, "missing", clip.num_frames, note=note)
    try:
        timeline = read_timeline(path)
    except DataError as err:
        return ClipReport(clip, "damaged", clip.num_frames, note=str(err))
    num_frames = len(clip_frames(timeline, clip))
    if not num_frames:
        return ClipReport(clip, "damaged", 0, timeline, f"{path} ends before the clip begins")
    lacking = clip.num_frames - num_frames
    note = f"{lacking} frames short of the annotation" if lacking > 1 else ""
    state = "clip" if path.parent.name == "clips" else "full_scale"
    return ClipReport(clip, state, num_frames, timeline, note)


def clip_table(reports: Sequence[ClipReport]) -> list[str]:
    """One aligned line per clip."""
    import pandas as pd

    rows = []
    for report in reports:
        timeline, clip = report.timeline, report.clip
        rate = f"{timeline.average_rate:.2f}" if timeline else "-"
        size = f"{timeline.size_hw[1]}x{timeline.size_hw[0]}" if timeline else "-"
        uid = clip.clip_uid or f"(null, of {clip.video_uid[:8]})"
        cells = (len(clip.queries), report.state, rate, size, report.num_frames)
        rows.append((uid, *cells, f"  {report.note}".rstrip()))
    table = pd.DataFrame(rows, columns=["clip", "queries", "file", "fps", "size", "frames", ""])
    table[""] = table[""].str.ljust(max(map(len, table[""])))
    text = table.set_index("clip").rename_axis(None).to_string(max_colwidth=None)
    return [line.rstrip() for line in text.splitlines()]


def size_table(
    reports: Sequence[ClipReport], config: VQ2DConfig, tokens_per_crop: int | None
) -> list[str]:
    """What stage 1, the token cache, encodes and stores."""
    clips = [report.searched for report in reports]
    frames, crops = work(reports, config)
    tokens = tokens_per_crop or estimate.most_tokens_per_crop(config)
    size = estimate.token_bytes(config)
    each = "an unknown number" if size is None else f"{size:,}"
    at_most = "at most " if config.aggregate and not tokens_per_crop else ""
    cache = "unknown" if size is None else f"{crops * tokens * size / 1e9:,.2f} GB"
    stride = config.tokens.frame_stride
    every = "each of them" if stride == 1 else f"one of {stride}"
    return [
        f"frames searched  {sum(min(c.num_frames, c.search_end) for c in clips):>14,}  "
        "(5 per second, up to the last query of each clip)",
        f"frames encoded   {frames:>14,}  ({every}, in files of {config.tokens.chunk_frames})",
        f"crops            {crops:>14,}  ({estimate.crops_per_frame(config.tokens)} per frame)",
        f"token cache      {cache:>14}  ({at_most}{tokens:,} tokens of {each} bytes per crop)",
    ]


def work(reports: Sequence[ClipReport], config: VQ2DConfig) -> tuple[int, int]:
    """Frames and crops that stage 1 encodes."""
    frames = sum(estimate.encoded_frames(report.searched, config.tokens) for report in reports)
    return frames, frames * estimate.crops_per_frame(config.tokens)


def encoding_time(
    reports: Sequence[ClipReport], config: VQ2DConfig, compute: Compute, args: argparse.Namespace
) -> str:
    """The line on the duration of stage 1: from a given speed, a GPU's, or one measured here."""
    seconds, source = args.seconds_per_crop, "given"
    if args.gpu_figures is not None:
        seconds, source = estimate.seconds_by_check(args.gpu_figures, config)
    if seconds is None:
        try:
            encoder = build_token_encoder(config, compute)
        except DataError as err:
            return (
                f"encoding         {'unknown':>14}  ({err}; or give --seconds-per-crop, or "
                "--gpu-figures with what tools/gpu_check.sh measured: none are known beforehand)"
            )
        sizes = [report.timeline.size_hw for report in reports if report.timeline]
        size_hw = sizes[0] if sizes else FRAME_HW
        seconds = estimate.seconds_per_crop(encoder, config.tokens, size_hw)
        source = f"measured on this machine, {compute}; reading the clips is not in it"
    hours = f"{work(reports, config)[1] * seconds / 3600:,.2f} h"
    return f"encoding         {hours:>14}  ({seconds:.3g} s per crop, {source})"


def fetch_commands(root: Path, needed: Sequence[ClipReport], uid_file: Path | None) -> list[str]:
    """The ego4d calls that get the missing files; those already there are skipped by them."""
    own = [report for report in needed if report.clip.clip_uid is not None]
    videos = dict.fromkeys(r.clip.video_uid for r in needed if r.clip.clip_uid is None)
    lines = []
    if own:
        wanted = f"--video_uid_file {uid_file}" if uid_file else "--benchmarks VQ"
        lines += [f"fetch {len(own)} clips:", f"  {ego4d(root, 'clips', wanted)}"]
    if videos:
        lines += [
            f"fetch {len(videos)} whole videos, for {len(needed) - len(own)} clips without a uid:",
            f"  {ego4d(root, 'full_scale', '--video_uids ' + ' '.join(videos))}",
        ]
    return lines


def ego4d(root: Path, datasets: str, wanted: str) -> str:
    """A call of the ego4d CLI."""
    return f"ego4d --output_directory={root} --datasets {datasets} {wanted} --version v2 -y"


def summary(annotations: Annotations, reports: Sequence[ClipReport]) -> list[str]:
    """Counts of queries, damaged annotations and clip states."""
    queries = sum(len(report.clip.queries) for report in reports)
    states = Counter(report.state for report in reports)
    rows = [
        f"annotations      {annotations.path} (version {annotations.version or 'not given'})",
        f"queries          {queries} in {len(reports)} clips",
        "files            " + ", ".join(f"{state}: {count}" for state, count in states.items()),
    ]
    null = [report for report in reports if report.clip.clip_uid is None]
    if null:
        absent = sum(report.is_needed for report in null)
        rows.append(
            f"null clip uids   {len(null)}, to be cut from their full-scale videos; "
            f"{absent} of them cannot be"
        )
    rows += [f"left out         {problem}" for problem in annotations.problems]
    return rows


def main(argv: Sequence[str] | None = None) -> int:
    """Print the report; 0 if a run has all its files, 1 if one is missing, 2 for bad usage.

    A clip with a null uid counts like any other: a run fails for its queries, too, unless the
    full-scale video is there to cut it from. Clips without queries are not needed.
    """
    args = COMMANDS["check-data"].parser("vq2d check-data").parse_args(argv)
    return exit_code(lambda: run(args))


def run(args: argparse.Namespace) -> int:
    """Check the files, then say what is there, what a run costs and what to fetch."""
    check_device(args.device)
    annotations = annotations_of(args.data, args.split)
    name, config, compute = chosen_config(args)
    reports = [inspect_clip(args.data, clip) for clip in annotations.clips[: args.limit]]

    notable = [r for r in reports if r.note or r.state in ("missing", "damaged")]
    shown = reports if args.all or len(reports) <= ROWS_SHOWN else notable
    rows = [*clip_table(shown), ""] if shown else []
    rows += [*summary(annotations, reports), f"preset           {name}"]
    print("\n".join([*rows, *size_table(reports, config, args.tokens_per_crop)]))
    print(encoding_time(reports, config, compute, args))

    needed = [report for report in reports if report.is_needed]
    if args.write_uids:
        uids = [r.clip.clip_uid for r in needed if r.clip.clip_uid is not None]
        args.write_uids.write_text("".join(f"{uid}\n" for uid in uids))
    if not needed:
        print("complete         every clip that a run searches can be read")
        return 0
    print("\n".join(fetch_commands(args.data, needed, args.write_uids)))
    return 1
