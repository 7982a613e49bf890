"""Render the tours of a specification and write them as a data set in Ego4D form.

    MUJOCO_GL=osmesa python -m tools.tours.make_set made_dev long_dev --out runs/sets

A name is that of a file in ``tools/tours/sets``. A clip is named after its specification and the
code that renders it, and rendered once; queries are chosen anew every time.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ren_core.code_identity import code_digest
from tools.tours.annotate import QueryConfig, Question, SeenFrame, Sight, ask
from tools.tours.camera import plan_tour
from tools.tours.contact_sheet import contact_sheet
from tools.tours.contents import what_is_shown
from tools.tours.ego4d_json import FRAMES_PER_STEP, annotation_file, video_entry
from tools.tours.render import TourRenderer, sights
from tools.tours.scene import build_room
from tools.tours.tour import Tour, read_tours
from tools.tours.video import Picture, write_video

logger = logging.getLogger(__name__)

SETS = Path(__file__).with_name("sets")
ANNOTATED_FPS = 5
CRF = 25


def render_clip(tour: Tour, target: Path, seen_file: Path) -> None:
    """Write the clip to ``target`` and what its annotated frames show to ``seen_file``."""
    started = time.perf_counter()
    room = build_room(tour.spec)
    plan = plan_tour(room, seconds=tour.facts.frame_count / ANNOTATED_FPS, seed=tour.spec.seed)
    step = tour.file_fps // ANNOTATED_FPS
    size_hw, fovy = tour.facts.size_hw, tour.fovy_deg
    seen: list[dict[str, Any]] = []

    def pictures() -> Iterator[Picture]:
        with TourRenderer(room, plan, size_hw=size_hw, fovy_deg=fovy) as renderer:
            for index in range(tour.facts.frame_count * step):
                time_s = index / tour.file_fps
                if index % step:  # frames in between only help the eye
                    yield renderer.picture(time_s, max_samples=1)
                    continue
                frame = renderer.frame(time_s)
                shown = sights(frame, room, plan, fovy)
                row = {title: asdict(sight) for title, sight in shown.items()}
                seen.append({"blur_px": frame.blur_px, "sights": row})
                yield frame.rgb

    write_video(target, pictures(), size_hw, fps=tour.file_fps, crf=CRF)
    seen_file.write_text(json.dumps(seen))
    logger.info("%s: %.0f s", tour.facts.name, time.perf_counter() - started)


def read_seen(path: Path) -> list[SeenFrame]:
    """What ``render_clip`` noted."""
    return [
        SeenFrame(row["blur_px"], {title: Sight(**s) for title, s in row["sights"].items()})
        for row in json.loads(path.read_text())
    ]


def make_set(tours: Sequence[Tour], out: Path, work: Path, *, processes: int = 1) -> None:
    """Render what is missing, choose the queries, write annotations, contents and preview.

    Args:
        tours: The clips.
        out: Folder of the data set.
        work: Folder that keeps rendered clips and what each of their frames shows.
        processes: So many clips are rendered at a time.
    """
    clips, annotations = out / "v2" / "clips", out / "v2" / "annotations"
    for folder in (clips, annotations, work):
        folder.mkdir(parents=True, exist_ok=True)
    rendered = [work / f"{_digest(tour)}.mp4" for tour in tours]
    with ProcessPoolExecutor(processes) as pool:
        jobs = [
            pool.submit(render_clip, tour, file, file.with_suffix(".json"))
            for tour, file in zip(tours, rendered, strict=True)
            if not (file.exists() and file.with_suffix(".json").exists())
        ]
        for job in jobs:
            job.result()

    entries: dict[bool, list[dict[str, Any]]] = {True: [], False: []}
    for tour, file in zip(tours, rendered, strict=True):
        _link(file, clips / f"{tour.facts.uid('clip')}.mp4")
        seen = read_seen(file.with_suffix(".json"))
        questions = questions_of(tour, seen)
        logger.info("%s: %d queries", tour.facts.name, len(questions))
        for answers, videos in entries.items():
            videos.append(video_entry(tour.facts, questions, seen, answers=answers))

    with_answers = annotation_file(entries[True])
    _write(annotations / "vq_val.json", with_answers)
    _write(annotations / "vq_test_unannotated.json", annotation_file(entries[False]))
    _write(out / "absent.json", what_is_shown(tours, with_answers))
    contact_sheet(with_answers, clips).save(out / "preview.jpg", quality=82)
    logger.info("%s", json.dumps(figures(with_answers)))


def questions_of(tour: Tour, seen: Sequence[SeenFrame]) -> list[Question]:
    """The queries of a tour."""
    return ask(seen, tour.titles, count=tour.query_count, seed=tour.spec.seed, config=QueryConfig())


def figures(annotations: dict[str, Any]) -> dict[str, float]:
    """Numbers of clips, frames, queries; medians of track length and object size."""
    clips = [clip for video in annotations["videos"] for clip in video["clips"]]
    queries = [q for c in clips for a in c["annotations"] for q in a["query_sets"].values()]
    boxes = [box for query in queries for box in query["response_track"]]
    sizes = [np.sqrt(box["width"] * box["height"]) for box in boxes]
    after = sum(q["visual_crop"]["frame_number"] > q["query_frame"] for q in queries)
    return {
        "clips": len(clips),
        "frames": sum((clip["clip_end_frame"] + 1) // FRAMES_PER_STEP for clip in clips),
        "queries": len(queries),
        "crops_after_query": after,
        "median_track_frames": float(np.median([len(q["response_track"]) for q in queries])),
        "median_box_sqrt_area_px": round(float(np.median(sizes)), 1),
    }


def _digest(tour: Tour) -> str:
    """Name of a clip: the tour and the code that renders it."""
    made_by = [code_digest("tools.tours.render"), code_digest("tools.tours.video"), CRF]
    return hashlib.sha256(repr([tour, made_by]).encode()).hexdigest()[:16]


def _link(source: Path, target: Path) -> None:
    """Let ``target`` be the rendered file, without a second copy."""
    if target.exists() and target.samefile(source):
        return
    target.unlink(missing_ok=True)
    target.hardlink_to(source)


def _write(path: Path, document: dict[str, Any]) -> None:
    path.write_text(json.dumps(document) + "\n")


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    known = ", ".join(sorted(path.stem for path in SETS.glob("*.json")))
    parser = argparse.ArgumentParser(description="Render sets of tours in Ego4D form.")
    parser.add_argument("names", nargs="+", help=f"specifications: {known}")
    parser.add_argument("--out", type=Path, required=True, help="folder for a folder per set")
    parser.add_argument("--work", type=Path, help="rendered clips (default: OUT/rendered)")
    parser.add_argument("--processes", type=int, default=2, help="clips rendered at a time")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Make the sets."""
    args = build_parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    for name in args.names:
        tours = read_tours(SETS / f"{name}.json")
        work = args.work or args.out / "rendered"
        make_set(tours, args.out / name, work, processes=args.processes)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
