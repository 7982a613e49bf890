"""Bring a submission that the challenge would reject into the form that it accepts."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vq2d.ego4d.documents import CHALLENGE, Document, empty_track, valid_query_sets

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Level:
    """A list of the submission: keys of its uids and members; do official readers compare uids?"""

    uid: str
    members: str
    official: bool = True


_VIDEOS = _Level("video_uid", "clips")
_CLIPS = _Level("clip_uid", "predictions")
_PREDICTIONS = _Level("annotation_uid", "query_sets", official=False)


def repair(submission: object, annotations: Document) -> tuple[Json, list[str]]:
    """Mend the form of a submission without inventing or moving a box.

    Videos and clips are found by uid, annotations by uid or else by position. Missing entries
    become empty predictions and unknown ones are dropped. Of several tracks the best-scored stays;
    boxes are sorted; a missing score becomes 0; version and challenge are set. Holes in a track and
    damaged boxes stay as they are, for ``validate`` to report.

    Args:
        submission: The loaded JSON of the submission, whatever it is.
        annotations: The loaded annotation file it answers.

    Returns:
        A new document, and one line for each change; no lines if it was in order.

    Raises:
        DataError: If the annotation file itself is not in the official form.
    """
    for _ in valid_query_sets(annotations):
        pass  # only to learn that the annotation file can be walked
    log: list[str] = []
    found = copy.deepcopy(submission)
    document: Json = found if isinstance(found, dict) else {}
    for key, expected in (("version", annotations.get("version")), ("challenge", CHALLENGE)):
        if document.get(key) != expected:
            log.append(f"{key}: {document.get(key)!r} became {expected!r}")
            document[key] = expected
    results = document.get("results") if isinstance(found, dict) else found
    if not isinstance(results, dict):
        log.append("results: became an object with 'videos'")
        results = {"videos": results}
    videos = results.get("videos")
    results["videos"] = _mended_videos(videos, annotations["videos"], "results.videos", log)
    document["results"] = results
    return document, log


def _mended_videos(
    found: object, truths: Sequence[Document], path: str, log: list[str]
) -> list[Json]:
    videos = _matched(found, truths, path, level=_VIDEOS, log=log)
    for v, (video, truth) in enumerate(zip(videos, truths, strict=True)):
        place, log_clips = f"{path}[{v}].clips", log if "clips" in video else []
        clips = _matched(video.get("clips"), truth["clips"], place, level=_CLIPS, log=log_clips)
        for c, (clip, clip_truth) in enumerate(zip(clips, truth["clips"], strict=True)):
            quiet = "predictions" not in clip
            _mend_clip(clip, clip_truth, f"{place}[{c}].predictions", [] if quiet else log_clips)
        video["clips"] = clips
    return videos


def _mend_clip(clip: Json, truth: Document, path: str, log: list[str]) -> None:
    annotations = truth["annotations"]
    found = clip.get("predictions")
    predictions = _matched(found, annotations, path, level=_PREDICTIONS, log=log)
    for a, (prediction, annotation) in enumerate(zip(predictions, annotations, strict=True)):
        place, log_sets = f"{path}[{a}].query_sets", log if "query_sets" in prediction else []
        sets = prediction.get("query_sets")
        prediction["query_sets"] = _mended_sets(sets, annotation["query_sets"], place, log_sets)
    clip["predictions"] = predictions


def _matched(
    found: object, truths: Sequence[Document], path: str, *, level: _Level, log: list[str]
) -> list[Json]:
    """For each annotated entry the one of the submission, or a new one with nothing but its uid.

    An entry without members is logged here, so that whoever fills it need not.
    """
    entries = _entries(found, path, level.uid, log)
    chosen = _assignment(entries, truths, level)
    order = [chosen[i] for i in sorted(chosen)]
    if order != sorted(order):
        log.append(f"{path}: brought into the annotation file's order")
    for position in sorted(set(range(len(entries))) - set(order)):
        uid = entries[position].get(level.uid)
        log.append(f"{path}: entry {position} ({uid}) is not annotated and was dropped")

    matched = []
    for i, truth in enumerate(truths):
        entry = entries[chosen[i]] if i in chosen else {}
        if level.members not in entry:
            log.append(f"{path}[{i}]: was missing or without {level.members!r} and became empty")
        if level.uid not in entry and level.uid in truth and (level.official or not entry):
            entry[level.uid] = truth[level.uid]
        matched.append(entry)
    return matched


def _assignment(
    entries: Sequence[Json], truths: Sequence[Document], level: _Level
) -> dict[int, int]:
    """Position of the submission's entry for each annotated entry that has one.

    Taken by uid first; then by position if the entry has no uid, or an unknown one that the
    official readers never look at.
    """
    uid = level.uid
    known = [truth[uid] for truth in truths if uid in truth]
    free = dict(enumerate(entries))
    chosen: dict[int, int] = {}
    for i, truth in enumerate(truths):
        same = (p for p, e in free.items() if uid in e and uid in truth and e[uid] == truth[uid])
        position = next(same, None)
        if position is not None:
            chosen[i] = position
            del free[position]
    for i in range(len(truths)):
        if i in chosen or i not in free:
            continue
        if uid not in free[i] or (not level.official and free[i][uid] not in known):
            chosen[i] = i
    return chosen


def _entries(found: object, path: str, uid: str, log: list[str]) -> list[Json]:
    """The objects of a list, or of an object keyed by uid."""
    if isinstance(found, dict):
        log.append(f"{path}: an object keyed by uid became a list")
        return [{uid: key} | value for key, value in found.items() if isinstance(value, dict)]
    if not isinstance(found, list):
        return []
    entries = [entry for entry in found if isinstance(entry, dict)]
    if len(entries) < len(found):
        log.append(f"{path}: {len(found) - len(entries)} entries that are no objects were dropped")
    return entries


def _mended_sets(found: object, truths: Document, path: str, log: list[str]) -> Json:
    """The annotation's query sets, one track each; invalid ones only if they were there."""
    sets = found if isinstance(found, dict) else {}
    log.extend(f"{path}[{name!r}]: unknown id, dropped" for name in sets if name not in truths)
    mended: Json = {}
    for name, query_set in truths.items():
        place = f"{path}[{name!r}]"
        if name in sets:
            mended[name] = _mended_track(sets[name], place, log)
        elif query_set["is_valid"]:
            log.append(f"{place}: was missing and became empty")
            mended[name] = empty_track()
    return mended


def _mended_track(found: object, path: str, log: list[str]) -> Json:
    """One track as an object with its boxes in order."""
    if isinstance(found, list):
        log.append(f"{path}: of a list of {len(found)} tracks the best-scored was kept")
        found = max((t for t in found if isinstance(t, dict)), key=_score_of, default=None)
    if not isinstance(found, dict):
        log.append(f"{path}: is no track and became empty")
        return empty_track()
    if not isinstance(found.get("bboxes"), list):
        log.append(f"{path}.bboxes: no list of boxes, became empty")
        found["bboxes"] = []
    if found.get("score") is None:
        log.append(f"{path}.score: was missing and became 0")
        found["score"] = 0.0
    found["bboxes"] = _sorted_boxes(found["bboxes"], f"{path}.bboxes", log)
    return found


def _score_of(track: Json) -> float:
    score = track.get("score")
    return score if isinstance(score, int | float) else -math.inf


def _sorted_boxes(boxes: list[Any], path: str, log: list[str]) -> list[Any]:
    """Boxes by ascending frame; as they are if some have no frame number."""
    frames = [box.get("fno") if isinstance(box, dict) else None for box in boxes]
    if not all(isinstance(frame, int | float) for frame in frames):
        return boxes
    ordered = sorted(boxes, key=lambda box: box["fno"])
    if ordered != boxes:
        log.append(f"{path}: sorted by frame")
    return ordered
