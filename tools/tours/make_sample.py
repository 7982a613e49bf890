"""Render the tours of a spec file and write them as a small data set in Ego4D form.

    MUJOCO_GL=osmesa python -m tools.tours.make_sample --out data/sample --work DIR

``--work`` keeps what every frame shows, so that queries can be chosen anew without rendering.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tools.tours.annotate import QueryConfig, SeenFrame, Sight, ask
from tools.tours.camera import plan_path
from tools.tours.contact_sheet import contact_sheet
from tools.tours.ego4d_json import FRAMES_PER_STEP, ClipFacts, annotation_file, video_entry
from tools.tours.looks import Paint
from tools.tours.objects import ObjectSpec
from tools.tours.render import TourRenderer, sights
from tools.tours.scene import RoomSpec, build_room
from tools.tours.video import Picture, write_video

logger = logging.getLogger(__name__)

SPEC_FILE = Path(__file__).with_name("sample_tours.json")
SIZE_HW = (480, 640)
FOVY_DEG = 56.0
ANNOTATED_FPS = 5
CRF = 25


@dataclass(frozen=True, slots=True)
class Tour:
    """One clip of the sample: a room, its length, the rate of its file, its queries."""

    spec: RoomSpec
    facts: ClipFacts
    file_fps: int
    query_count: int


def read_tours(path: Path) -> list[Tour]:
    """The tours of a spec file."""
    tours = []
    for row in json.loads(path.read_text()):
        items = [
            ObjectSpec(asset=o["asset"], title=o["title"], paint=Paint(o.get("hue_shift", 0.0)))
            for o in row["objects"]
        ]
        spec = RoomSpec(room=row["room"], seed=row["seed"], objects=tuple(items))
        name = f"{spec.room}-{spec.seed}"
        facts = ClipFacts(name, row["first_source_frame"], row["frames"], SIZE_HW)
        tours.append(Tour(spec, facts, row["file_fps"], row["queries"]))
    return tours


def render_clip(tour: Tour, target: Path, seen_file: Path) -> None:
    """Write the clip to ``target`` and what its annotated frames show to ``seen_file``."""
    room = build_room(tour.spec)
    path = plan_path(room, seconds=tour.facts.frame_count / ANNOTATED_FPS, seed=tour.spec.seed)
    step = tour.file_fps // ANNOTATED_FPS
    seen: list[dict[str, Any]] = []

    def pictures() -> Iterator[Picture]:
        with TourRenderer(room, size_hw=SIZE_HW, fovy_deg=FOVY_DEG) as renderer:
            for index in range(tour.facts.frame_count * step):
                time_s = index / tour.file_fps
                if index % step:  # frames in between only help the eye
                    yield renderer.picture(path, time_s, max_samples=1)
                    continue
                frame = renderer.frame(path, time_s)
                shown = sights(frame, room, FOVY_DEG)
                row = {title: asdict(sight) for title, sight in shown.items()}
                seen.append({"blur_px": frame.blur_px, "sights": row})
                yield frame.rgb

    write_video(target, pictures(), SIZE_HW, fps=tour.file_fps, crf=CRF)
    seen_file.write_text(json.dumps(seen))


def read_seen(path: Path) -> list[SeenFrame]:
    """What ``render_clip`` noted."""
    return [
        SeenFrame(row["blur_px"], {title: Sight(**s) for title, s in row["sights"].items()})
        for row in json.loads(path.read_text())
    ]


def make_sample(tours: Sequence[Tour], out: Path, work: Path) -> None:
    """Render what is missing, choose the queries, write annotations and preview."""
    clips, annotations = out / "v2" / "clips", out / "v2" / "annotations"
    for folder in (clips, annotations, work):
        folder.mkdir(parents=True, exist_ok=True)
    entries: dict[bool, list[dict[str, Any]]] = {True: [], False: []}
    for tour in tours:
        target, seen_file = (
            clips / f"{tour.facts.uid('clip')}.mp4",
            work / f"{tour.facts.name}.json",
        )
        if not (target.exists() and seen_file.exists()):
            start = time.perf_counter()
            render_clip(tour, target, seen_file)
            logger.info("%s: %.0f s", tour.facts.name, time.perf_counter() - start)
        seen = read_seen(seen_file)
        titles = [item.title for item in tour.spec.objects]
        questions = ask(
            seen, titles, count=tour.query_count, seed=tour.spec.seed, config=QueryConfig()
        )
        logger.info("%s: %d queries", tour.facts.name, len(questions))
        for answers, videos in entries.items():
            videos.append(video_entry(tour.facts, questions, seen, answers=answers))

    with_answers = annotation_file(entries[True])
    (annotations / "vq_val.json").write_text(json.dumps(with_answers) + "\n")
    without = annotation_file(entries[False])
    (annotations / "vq_test_unannotated.json").write_text(json.dumps(without) + "\n")
    contact_sheet(with_answers, clips).save(out / "preview.jpg", quality=82)
    logger.info("%s", json.dumps(figures(with_answers)))


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


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description="Render the embedded sample.")
    parser.add_argument("--spec", type=Path, default=SPEC_FILE, help="JSON list of tours")
    parser.add_argument("--out", type=Path, required=True, help="folder of the data set")
    parser.add_argument("--work", type=Path, required=True, help="folder for the truth of frames")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Make the sample."""
    args = build_parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    make_sample(read_tours(args.spec), args.out, args.work)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
