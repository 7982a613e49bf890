"""Stage 4: follow a refined candidate both ways until it disappears."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from ren_core.configuration import Count, configuration
from ren_core.geometry import box_iou, clip_boxes
from vq2d.masking.base import TrackStep, VideoTracker
from vq2d.types import Candidate, FrameSource, ResponseTrack

Order = Literal["last", "highest"]


@configuration(group="track")
class TrackConfig:
    """Which candidate is tracked, and how far.

    Attributes:
        first: ``"last"``: the latest good candidate (paper); ``"highest"``: the best scored one
            (release).
        max_frames: Most frames tracked in each direction.
    """

    first: Order = "last"
    max_frames: Count = 500


def choose(candidates: Sequence[Candidate], order: Order) -> Candidate | None:
    """The candidate to track: the latest, or the one with the highest refined score."""
    if not candidates:
        return None
    if order == "last":
        return max(candidates, key=lambda c: c.frame_idx)
    return max(
        candidates, key=lambda c: (-2 if c.refined_score is None else c.refined_score, c.frame_idx)
    )


def track_candidate(
    candidate: Candidate,
    frames: FrameSource,
    tracker: VideoTracker,
    stop_frame: int,
    config: TrackConfig,
) -> ResponseTrack:
    """Track a candidate with a box backwards to the start and forwards to ``stop_frame``.

    Args:
        candidate: Refined; its box starts the track.
        frames: The clip.
        tracker: Follows the box.
        stop_frame: One past the last frame of the search window.
        config: How far at most.

    Returns:
        A track in frame pixels, clipped to the frame, with the candidate's refined score.
    """
    assert candidate.box_xyxy is not None
    at, box = candidate.frame_idx, candidate.box_xyxy
    low = max(-1, at - config.max_frames - 1)
    high = min(stop_frame, len(frames), at + config.max_frames + 1)
    steps: dict[int, TrackStep] = {at: TrackStep(at, box, 1.0)}
    for step in tracker.track_both(frames, at, box, (high, low)):
        steps.setdefault(step.frame_idx, step)
    order = sorted(steps)
    boxes = np.stack([steps[i].box_xyxy for i in order])
    score = candidate.similarity if candidate.refined_score is None else candidate.refined_score
    return ResponseTrack(order[0], clip_boxes(boxes, frames.size_hw), score)


def cut_at(track: ResponseTrack, frame: int, kept: int) -> ResponseTrack:
    """The part of a track that lies on the side of frame ``kept`` of another frame, exclusive.

    The track itself if it does not hold that frame, or if both are one.
    """
    if track.start_frame <= frame < kept:
        boxes = track.boxes_xyxy[frame + 1 - track.start_frame :]
        return replace(track, start_frame=frame + 1, boxes_xyxy=boxes)
    if kept < frame < track.end_frame:
        return replace(track, boxes_xyxy=track.boxes_xyxy[: frame - track.start_frame])
    return track


def continues(first: ResponseTrack, second: ResponseTrack, max_gap: int) -> bool:
    """Whether a later track is the same occurrence, lost for a moment.

    It is if at most ``max_gap`` frames lie between them and the boxes at the gap overlap.
    """
    if second.end_frame <= first.end_frame or second.start_frame > first.end_frame + max_gap:
        return False
    at = max(0, min(first.end_frame, second.end_frame - 1) - second.start_frame)
    return float(box_iou(first.boxes_xyxy[-1], second.boxes_xyxy[at])) > 0


def join(first: ResponseTrack, second: ResponseTrack) -> ResponseTrack:
    """The first track, then the rest of the second; boxes between them are interpolated."""
    tail = second.boxes_xyxy[max(0, first.end_frame - second.start_frame) :]
    missing = max(0, second.start_frame - first.end_frame)
    share = np.linspace(0, 1, missing + 2, dtype=np.float32)[1:-1, None]
    between = first.boxes_xyxy[-1] * (1 - share) + tail[0] * share
    boxes = np.concatenate([first.boxes_xyxy, between, tail])
    return ResponseTrack(first.start_frame, boxes, max(first.score, second.score))
