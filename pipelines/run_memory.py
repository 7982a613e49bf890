"""Measure a memory: bytes and search per hour, time to an answer, and what reducing tokens costs.

Every clip of some sets is remembered, as if one was recorded after the other. Every query is asked
twice: of its own clip alone, from the memory's reduced region tracks; and of the whole memory, up
to the moment of the query, where the answer may lie in any video.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np

from pipelines.shared.figures import CHOOSING, REPORTING, add_roots, find_set
from ren_core.errors import DataError
from ren_core.progress import tqdm
from ren_core.stages import write_figures
from vq2d.commands.options import add_preset_options
from vq2d.commands.shared import chosen_config, peak_memory, run_command
from vq2d.ego4d.clips import clip_file
from vq2d.localize.build import build_localizer
from vq2d.localize.localizer import question_of
from vq2d.memory.ask import AskConfig, MemoryQuestion, Places, sightings
from vq2d.memory.catalogue import FRAMES_PER_SECOND, RememberedVideo
from vq2d.memory.memory import Memory, open_store, remembering
from vq2d.scoring.metrics import SUCCESS_THRESHOLD
from vq2d.scoring.tubes import Tube, tube_iou
from vq2d.types import ResponseTrack, VisualQuery
from vq2d.video.frames import open_video

FIRST_DAY = datetime(2026, 1, 1, 8, tzinfo=timezone.utc)
APART = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Clip:
    """A clip of a set, remembered, with the queries whose answer is known."""

    set_name: str
    video: RememberedVideo
    queries: tuple[VisualQuery, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """One query, asked of its clip and of the whole memory.

    Attributes:
        set_name: Where it is from.
        key: Place in the annotation file.
        in_clip: stIoU of the answer from its clip alone.
        in_memory: stIoU of the first answer from all videos; 0 if it lies in another video.
        elsewhere: Whether that answer lies in another video.
        coarse_s: Wall seconds in which all videos' vectors were searched.
        first_s: Wall seconds to the moment and the box of the first answer, models loaded.
        first_cpu_s: Processor seconds of the same.
        track_cpu_s: Processor seconds from the question to the whole track.
    """

    set_name: str
    key: str
    in_clip: float
    in_memory: float
    elsewhere: bool
    coarse_s: float
    first_s: float
    first_cpu_s: float
    track_cpu_s: float


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    sets = (*CHOOSING, *REPORTING)
    parser.add_argument("--sets", nargs="+", required=True, choices=sets, help="which sets")
    add_roots(parser)
    parser.add_argument("--out", type=Path, default=Path("runs/memory"), help="folder of results")
    add_preset_options(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Remember, ask, print; 0 done, 1 failed, 2 usage."""
    args = build_parser().parse_args(argv)
    return run_command("run_memory", argv, args, run)


def run(args: argparse.Namespace, command: str) -> int:
    """Do what the command line asks; the exit code."""
    name, config, compute = chosen_config(args)
    localizer = build_localizer(remembering(config), compute)
    memory = Memory(open_store(args.out / "memory", localizer, name), localizer)
    started = time.process_time()
    clips = remember(memory, args.sets, args.roots, args.out / "videos")
    hours = sum(video.duration_s for video in memory.videos()) / 3600
    size = sum(video.bytes for video in memory.videos())
    vectors = sum(video.vectors for video in memory.videos())
    print(
        f"{len(clips)} videos, {hours:.2f} h, {vectors} vectors, {size / hours / 1e6:.0f} MB an "
        f"hour; remembered in {(time.process_time() - started) / 60:.1f} min of processor time"
    )
    asked = [(clip, query) for clip in clips for query in clip.queries]
    rows = [ask(memory, clip, query) for clip, query in tqdm(asked, unit="query", disable=None)]
    figures = {
        "command": command,
        "hours": hours,
        "bytes": size,
        "vectors": vectors,
        **summary(rows),
        "rows": [asdict(row) for row in rows],
    }
    write_figures(args.out / "memory.json", figures)
    for key, value in summary(rows).items():
        print(f"{key:<32}{value:.3f}")
    print(f"peak memory {peak_memory()}")
    return 0


def remember(
    memory: Memory, sets: Sequence[str], roots: Sequence[Path], folder: Path
) -> list[Clip]:
    """Remember all clips of some sets, as if they were recorded an hour apart.

    Raises:
        DataError: If a set is not there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    clips: list[Clip] = []
    with tqdm(desc="frames", unit="frame", disable=None) as bar:
        for name in sets:
            data = find_set(name, roots)
            if data is None:
                raise DataError(f"the set {name} is in none of {roots}; `make sets` makes it")
            for clip in data.annotations.clips:
                source = clip_file(data.root, clip)
                assert source is not None
                path = folder / f"{name}-{source.name}"
                if not path.exists():
                    shutil.copy(source, path)
                recorded = (FIRST_DAY + len(clips) * APART).timestamp()
                os.utime(path, (recorded, recorded))
                video = memory.add(path, bar.update)
                assert video is not None
                known = tuple(q for q in clip.queries if q.response is not None)
                clips.append(Clip(name, video, known))
    return clips


def ask(memory: Memory, clip: Clip, query: VisualQuery) -> Row:
    """Ask one query of its clip, and of the whole memory up to its moment."""
    frames = open_video(clip.video.path)
    question = question_of(query, frames)
    chunks = memory.store.kept(clip.video.fingerprint).chunks()
    alone = memory.localizer.localize(question, frames, chunks).track

    asked = MemoryQuestion(question.views, (clip.video.fingerprint, query.crop_frame))
    before = clip.video.recorded_at + timedelta(seconds=query.query_frame / FRAMES_PER_SECOND)
    laps: list[tuple[float, float]] = []
    wall, processor = time.perf_counter(), time.process_time()

    def on_found(*_: object) -> None:
        laps.append((time.perf_counter() - wall, time.process_time() - processor))

    places = Places(memory.store, memory.localizer)
    sighting = next(sightings(places, asked, before, 1, AskConfig(), on_found=on_found), None)
    on_found()  # the track is whole, or there is none
    first_s, first_cpu_s = laps[0]
    track_cpu_s = laps[-1][1]
    is_here = sighting is not None and sighting.video.fingerprint == clip.video.fingerprint
    return Row(
        set_name=clip.set_name,
        key=str(query.key),
        in_clip=overlap(alone, query, frames.size_hw),
        in_memory=overlap(sighting.found.track, query, frames.size_hw)
        if is_here and sighting is not None
        else 0.0,
        elsewhere=sighting is not None and not is_here,
        coarse_s=seconds_of_search(memory, asked),
        first_s=first_s,
        first_cpu_s=first_cpu_s,
        track_cpu_s=track_cpu_s,
    )


def seconds_of_search(memory: Memory, question: MemoryQuestion) -> float:
    """Wall seconds in which the vectors of all videos are compared with a question's."""
    vectors = memory.localizer.target(question.views).vectors
    started = time.perf_counter()
    for video in memory.videos():
        memory.store.kept(video.fingerprint).best_similarity(vectors, video.num_frames)
    return time.perf_counter() - started


def overlap(track: ResponseTrack | None, query: VisualQuery, size_hw: tuple[int, int]) -> float:
    """StIoU of a track and a query's truth, in the pixels of a file; 0 without a track."""
    truth = query.response_in(size_hw)
    return 0.0 if track is None or truth is None else tube_iou(tube(track), tube(truth))


def tube(track: ResponseTrack) -> Tube:
    """A track as the official arithmetic takes it."""
    boxes = track.boxes_xyxy.astype(float).tolist()
    return Tube.from_pairs(
        (track.start_frame + i, (b[0], b[1], b[2], b[3])) for i, b in enumerate(boxes)
    )


def summary(rows: Sequence[Row]) -> dict[str, float]:
    """Success in percent and medians of the seconds."""
    found: dict[str, float] = {}
    for name in dict.fromkeys(row.set_name for row in rows):
        mine = [row for row in rows if row.set_name == name]
        found[f"{name} success in clip"] = success([row.in_clip for row in mine])
        found[f"{name} success in memory"] = success([row.in_memory for row in mine])
    return {
        **found,
        "queries": float(len(rows)),
        "success in clip": success([row.in_clip for row in rows]),
        "success in memory": success([row.in_memory for row in rows]),
        "first answer elsewhere": 100 * float(np.mean([row.elsewhere for row in rows])),
        "search s": float(np.median([row.coarse_s for row in rows])),
        "moment and box s": float(np.median([row.first_s for row in rows])),
        "moment and box, processor s": float(np.median([row.first_cpu_s for row in rows])),
        "track, processor s": float(np.median([row.track_cpu_s for row in rows])),
    }


def success(overlaps: Sequence[float]) -> float:
    """Share of overlaps that count as success, percent."""
    return 100 * float(np.mean([value >= SUCCESS_THRESHOLD for value in overlaps]))


if __name__ == "__main__":
    sys.exit(main())
