"""Write the leaderboard's JSON from tracks; check it, or mend a file that others wrote.

The official readers match by position, so a submission is laid out along the annotation file:
same videos, clips and annotations in the same order, one entry per query set, keyed by place.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ren_core.errors import DataError
from vq2d.ego4d.documents import BOX_KEYS, CHALLENGE, Document, empty_track, valid_query_sets
from vq2d.ego4d.repair import repair
from vq2d.ego4d.validation import Problem, validate
from vq2d.types import QueryKey, ResponseTrack

__all__ = ["Problem", "build_submission", "repair", "validate"]

Json = dict[str, Any]
DECIMALS = 2  # hundredths of a pixel: finer than any annotation


def build_submission(
    annotations: Document,
    tracks: Mapping[QueryKey, ResponseTrack],
    *,
    version: str | None = None,
) -> Json:
    """The submission that answers an annotation file.

    Args:
        annotations: The loaded annotation file, with or without response tracks.
        tracks: Boxes in original pixels by query; a query without a track becomes an empty
            prediction of score 0, which counts as a miss.
        version: Version to write; the annotation file's by default.

    Returns:
        The official form, with every valid query set and no other.

    Raises:
        DataError: If a track answers no valid query or holds a number that is not finite, or
            the annotation file has no version and none is given.
    """
    keys = [query.key for query in valid_query_sets(annotations)]
    unknown = sorted(map(str, tracks.keys() - set(keys)))
    if unknown:
        raise DataError(
            f"{len(unknown)} tracks answer no valid query of the annotation file, the first is "
            f"{unknown[0]}; build from the annotation file that the queries came from"
        )
    if version is None and annotations.get("version") is None:
        raise DataError(
            "the annotation file has no version to echo; choose one, such as version '1.0.5' "
            "(--version on the command line)"
        )

    videos = [_skeleton(video) for video in annotations["videos"]]
    for key in keys:
        clip = videos[key.video_idx]["clips"][key.clip_idx]
        answer = _track_json(key, tracks[key]) if key in tracks else empty_track()
        clip["predictions"][key.annotation_idx]["query_sets"][key.query_set] = answer
    return {
        "version": annotations["version"] if version is None else version,
        "challenge": CHALLENGE,
        "results": {"videos": videos},
    }


def _skeleton(video: Document) -> Json:
    """One video of a submission, its query sets still to be filled."""
    clips = []
    for clip in video["clips"]:
        predictions: list[Json] = []
        for annotation in clip["annotations"]:
            uid = annotation.get("annotation_uid")
            predictions.append(
                {"query_sets": {}} | ({} if uid is None else {"annotation_uid": uid})
            )
        clips.append({"clip_uid": clip["clip_uid"], "predictions": predictions})
    return {"video_uid": video["video_uid"], "clips": clips}


def _track_json(key: QueryKey, track: ResponseTrack) -> Json:
    """The official form of one track."""
    if not (np.isfinite(track.boxes_xyxy).all() and np.isfinite(track.score)):
        raise DataError(
            f"the track of query {key} has a box or score that is not finite (score "
            f"{track.score}); leave the query out of the tracks if nothing was found"
        )
    boxes = [
        dict(zip(BOX_KEYS, [frame, *(round(float(v), DECIMALS) for v in box)], strict=True))
        for frame, box in enumerate(track.boxes_xyxy, start=track.start_frame)
    ]
    return {"bboxes": boxes, "score": float(track.score)}
