"""Answers on disk: JSON that is exact enough to be drawn and scored again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from ren_core.stages import write_json
from vq2d.types import Candidate, FrameScores, Localization, ResponseTrack


def save_localization(path: Path, found: Localization) -> None:
    """Write an answer atomically; float32 values survive exactly, but for the curve's."""
    write_json(path, localization_to_json(found))


def load_localization(path: Path) -> Localization:
    """Read what ``save_localization`` wrote."""
    return localization_from_json(json.loads(path.read_text()))


def localization_to_json(found: Localization) -> dict[str, Any]:
    """An answer as JSON types."""
    own = found.scores.own
    return {
        "track": None if found.track is None else _track_to_json(found.track),
        "seed": None if found.seed is None else _candidate_to_json(found.seed),
        "rounds": found.rounds,
        "present": found.present,
        "held": [[frames.start, frames.stop] for frames in found.held],
        "candidates": [_candidate_to_json(c) for c in found.candidates],
        "frame_idx": found.scores.frame_idx.tolist(),
        "similarity": found.scores.similarity.round(4).astype(float).tolist(),
        "points_xy": found.scores.points_xy.round(1).astype(float).tolist(),
        "own_occurrence": None if own is None else [own.start, own.stop],
    }


def localization_from_json(raw: dict[str, Any]) -> Localization:
    """What ``localization_to_json`` gave, now or in an earlier version."""
    own = raw["own_occurrence"]
    return Localization(
        track=None if raw["track"] is None else _track_from_json(raw["track"]),
        scores=FrameScores(
            np.array(raw["frame_idx"], np.int32),
            np.array(raw["similarity"], np.float32),
            np.array(raw["points_xy"], np.float32).reshape(-1, 2),
            own=None if own is None else range(*own),
        ),
        candidates=tuple(_candidate_from_json(c) for c in raw["candidates"]),
        seed=None if raw["seed"] is None else _candidate_from_json(raw["seed"]),
        rounds=raw["rounds"],
        present=raw.get("present"),
        held=tuple(range(start, stop) for start, stop in raw["held"]),
    )


def _track_to_json(track: ResponseTrack) -> dict[str, Any]:
    return {
        "start_frame": track.start_frame,
        "boxes_xyxy": track.boxes_xyxy.astype(float).tolist(),
        "score": track.score,
    }


def _track_from_json(raw: dict[str, Any]) -> ResponseTrack:
    return ResponseTrack(raw["start_frame"], np.array(raw["boxes_xyxy"], np.float32), raw["score"])


def _candidate_to_json(candidate: Candidate) -> dict[str, Any]:
    box = candidate.box_xyxy
    return {
        "frame_idx": candidate.frame_idx,
        "point_xy": list(candidate.point_xy),
        "similarity": candidate.similarity,
        "box_xyxy": None if box is None else box.astype(float).tolist(),
        "refined_score": candidate.refined_score,
        "colours": candidate.colours,
    }


def _candidate_from_json(raw: dict[str, Any]) -> Candidate:
    box = raw["box_xyxy"]
    return Candidate(
        frame_idx=raw["frame_idx"],
        point_xy=(raw["point_xy"][0], raw["point_xy"][1]),
        similarity=raw["similarity"],
        box_xyxy=None if box is None else np.array(box, np.float32),
        refined_score=raw["refined_score"],
        colours=raw.get("colours"),
    )
