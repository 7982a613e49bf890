"""Videos, sightings and kept answers as the page reads them: JSON types without any path."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from ren_core.stages import digest
from vq2d.localize.saved import localization_from_json
from vq2d.memory.answers import was_believed
from vq2d.memory.ask import Sighting
from vq2d.memory.catalogue import FRAMES_PER_SECOND, KnownAnswer, RememberedVideo
from vq2d.memory.store import Store
from vq2d.types import Localization
from vq2d.web.json_types import (
    AnswerJson,
    AskedJson,
    HeadJson,
    LastJson,
    SightingJson,
    SummaryJson,
    VideoJson,
)


def video_json(video: RememberedVideo) -> VideoJson:
    """What the page shows of a video."""
    H, W = video.size_hw
    return {
        "id": video.fingerprint,
        "name": video.path.name,
        "recorded_at": video.recorded_at.isoformat(),
        "recorded_from": video.recorded_from,
        "duration_s": video.duration_s,
        "num_frames": video.num_frames,
        "width": W,
        "height": H,
        "is_there": video.path.is_file(),
    }


def sighting_json(sighting: Sighting) -> SightingJson:
    """A sighting, and how similar its video is at each time."""
    return _seen_json(sighting.video, sighting.found, sighting.believed)


def answer_json(store: Store, known: KnownAnswer) -> AnswerJson:
    """All of a kept answer."""
    _, raw = store.read_answer(known.name)
    videos = {video.fingerprint: video for video in store.videos()}
    sightings = [
        _seen_json(
            videos[one["video"]],
            localization_from_json(one["found"]),
            is_believed=was_believed(one),
        )
        for one in raw["sightings"]
    ]
    return {
        **_head(known, raw, videos),
        "sightings": sightings,
    }


def summary_json(store: Store, known: KnownAnswer) -> SummaryJson:
    """A kept answer in a list: what was asked and the last sighting, without boxes and curve."""
    _, raw = store.read_answer(known.name)
    videos = {video.fingerprint: video for video in store.videos()}
    last: LastJson | None = None
    if raw["sightings"]:
        one = raw["sightings"][0]
        track, video = one["found"]["track"], videos[one["video"]]
        end_s = (track["start_frame"] + len(track["boxes_xyxy"])) / FRAMES_PER_SECOND
        last = {
            "name": video.path.name,
            "last_seen_at": _time_of(video, end_s),
            "believed": was_believed(one),
            "score": track["score"],
        }
    return {
        **_head(known, raw, videos),
        "count": len(raw["sightings"]),
        "last": last,
    }


def _head(known: KnownAnswer, raw: dict[str, Any], videos: dict[str, RememberedVideo]) -> HeadJson:
    """What was asked, and when."""
    return {
        "id": known.name,
        "question": _question(known, raw),
        "asked_at": known.asked_at.isoformat(),
        "asked": _asked(raw, videos),
    }


def _question(known: KnownAnswer, raw: dict[str, Any]) -> str:
    """The same for the same question, whatever answered it; older answers do not know it."""
    if "question" in raw:
        return str(raw["question"])
    if raw.get("origin") is not None:
        return digest([raw["origin"], raw.get("boxes_xyxy")])
    return known.name


def _asked(raw: dict[str, Any], videos: dict[str, RememberedVideo]) -> AskedJson:
    """What was asked."""
    origin, boxes = raw.get("origin"), raw.get("boxes_xyxy", [])
    if origin is None or origin[0] not in videos:
        return {"pictures": len(boxes)}
    name = videos[origin[0]].path.name
    return {"video": origin[0], "name": name, "frame": origin[1], "box_xyxy": boxes[0]}


def _seen_json(video: RememberedVideo, found: Localization, is_believed: bool) -> SightingJson:
    """One sighting; boxes are xyxy in pixels of the video as shown, one per frame at 5 fps."""
    track, scores = found.track, found.scores
    assert track is not None
    end_s = track.end_frame / FRAMES_PER_SECOND
    return {
        "video": video_json(video),
        "first_frame": track.start_frame,
        "end_frame": track.end_frame,
        "start_s": track.start_frame / FRAMES_PER_SECOND,
        "end_s": end_s,
        "last_seen_at": _time_of(video, end_s),
        "present": found.present,
        "believed": is_believed,
        "score": track.score,
        "boxes_xyxy": track.boxes_xyxy.astype(float).tolist(),
        "curve": {
            "frames": scores.frame_idx.tolist(),
            "similarity": scores.similarity.round(4).astype(float).tolist(),
            "own": None if scores.own is None else [scores.own.start, scores.own.stop],
        },
    }


def _time_of(video: RememberedVideo, seconds: float) -> str:
    moment: datetime = video.recorded_at + timedelta(seconds=seconds)
    return moment.isoformat()
