"""Write questions in the layout of Ego4D's VQ2D annotation files (version 2 keys)."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tools.tours.annotate import Question, SeenFrame

FRAMES_PER_STEP = 6
"""Frames of the 30-fps source per annotated frame (5 fps)."""
_SETS_PER_ANNOTATION = 3


@dataclass(frozen=True, slots=True)
class ClipFacts:
    """Place and size of a clip.

    Attributes:
        name: Decides all uids of the clip.
        first_source_frame: Frame of the 30-fps source video at which the clip starts.
        frame_count: Annotated frames.
        size_hw: Height and width in pixels.
    """

    name: str
    first_source_frame: int
    frame_count: int
    size_hw: tuple[int, int]

    def uid(self, kind: str) -> str:
        """A fixed uuid for one of the clip's identities."""
        return str(uuid.uuid5(uuid.NAMESPACE_URL, f"ren-vq2d/sample/{self.name}/{kind}"))

    def source_frame(self, frame: int) -> int:
        """Frame of the source video that an annotated frame shows."""
        return self.first_source_frame + FRAMES_PER_STEP * frame


def video_entry(
    facts: ClipFacts, questions: Sequence[Question], frames: Sequence[SeenFrame], *, answers: bool
) -> dict[str, Any]:
    """One video with one clip; without ``answers``, as in the test file."""
    last = FRAMES_PER_STEP * facts.frame_count - 1
    annotations = []
    for start in range(0, len(questions), _SETS_PER_ANNOTATION):
        part = questions[start : start + _SETS_PER_ANNOTATION]
        sets = {str(k + 1): _query_set(q, facts, frames, answers) for k, q in enumerate(part)}
        uid = facts.uid(f"annotation-{start // _SETS_PER_ANNOTATION}")
        annotations.append({"query_sets": sets, "warnings": [], "annotation_uid": uid})
    clip = {
        "clip_uid": facts.uid("clip"),
        "video_start_sec": facts.first_source_frame / 30,
        "video_end_sec": (facts.first_source_frame + last) / 30,
        "video_start_frame": facts.first_source_frame,
        "video_end_frame": facts.first_source_frame + last,
        "clip_start_sec": 0,
        "clip_end_sec": last / 30,
        "clip_start_frame": 0,
        "clip_end_frame": last,
        "clip_fps": 5.0,
        "annotation_complete": True,
        "source_clip_uid": facts.uid("source-clip"),
        "annotations": annotations,
    }
    split = "val" if answers else "test"
    return {"video_uid": facts.uid("video"), "split": split, "clips": [clip]}


def annotation_file(videos: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The whole file around the videos."""
    return {
        "version": "1.0.5",
        "date": "261122",
        "description": "rendered first-person tours in the VQ2D layout; not Ego4D data",
        "manifest": "",
        "videos": list(videos),
    }


def _query_set(
    question: Question, facts: ClipFacts, frames: Sequence[SeenFrame], answers: bool
) -> dict[str, Any]:
    track = [_box(frame, question.title, facts, frames) for frame in question.track]
    return {
        "is_valid": True,
        "errors": [],
        "warnings": [],
        "query_frame": question.query_frame,
        "query_video_frame": facts.source_frame(question.query_frame),
        **({"response_track": track} if answers else {}),
        "object_title": question.title,
        "visual_crop": _box(question.crop_frame, question.title, facts, frames),
    }


def _box(
    frame: int, title: str, facts: ClipFacts, frames: Sequence[SeenFrame]
) -> dict[str, float | int]:
    x1, y1, x2, y2 = frames[frame].sights[title].box_xyxy
    height, width = facts.size_hw
    return {
        "frame_number": frame,
        "x": float(x1),
        "y": float(y1),
        "width": float(x2 - x1),
        "height": float(y2 - y1),
        "rotation": 0,
        "original_width": width,
        "original_height": height,
        "video_frame_number": facts.source_frame(frame),
    }
