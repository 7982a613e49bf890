"""Would the challenge accept this submission? Every fault with its place and its remedy.

The official validator stops at the first fault with an empty message, and lets through files on
which the official evaluator then breaks. Here an *error* is what either of them rejects; a
*warning* is what both accept although it is probably a mistake.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from vq2d.ego4d.documents import (
    BOX_KEYS,
    CHALLENGE,
    AnnotatedQuery,
    Document,
    is_finite,
    predicted_track,
    prediction_path,
    valid_query_sets,
)

Severity = Literal["error", "warning"]
TOO_LARGE = "found a whole number with more digits than a float can hold"


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault of a submission: where it is, what was found and expected, what to do."""

    path: str
    message: str
    severity: Severity = "error"

    def __str__(self) -> str:
        return f"{self.severity}: {self.path or 'the file'}: {self.message}"


def validate(
    submission: object, annotations: Document, *, expected_version: str | None = None
) -> list[Problem]:
    """Check a submission against the annotation file it answers.

    Args:
        submission: The loaded JSON of the submission, whatever it is.
        annotations: The loaded annotation file, with or without response tracks.
        expected_version: Version the submission must carry; the annotation file's by default.

    Returns:
        Errors and warnings in file order; a submission without errors is accepted by the
        official validator and evaluator. Where order or number is wrong, nothing below is checked.

    Raises:
        DataError: If the annotation file itself is not in the official form.
    """
    queries = list(valid_query_sets(annotations))
    report = _Report()
    version = annotations.get("version") if expected_version is None else expected_version
    if not isinstance(submission, dict):
        report.error("", f"found {_kind(submission)}, expected an object; write it anew")
        return report.problems
    _check_head(submission, version, report)
    results = submission.get("results")
    if not isinstance(results, dict) or "videos" not in results:
        advice = 'write {"videos": [...]}'
        report.error("results", f"found {_kind(results)}, expected 'videos' in it; {advice}")
        return report.problems
    head_errors = report.error_count
    _check_nesting(results["videos"], annotations["videos"], report)
    if report.error_count == head_errors:
        _check_tracks(submission, queries, report)
    return report.problems


@dataclass(slots=True)
class _Report:
    """Collects problems in the order in which they are met."""

    problems: list[Problem] = field(default_factory=list)

    def error(self, path: str, message: str) -> None:
        self.problems.append(Problem(path, message))

    def warning(self, path: str, message: str) -> None:
        self.problems.append(Problem(path, message, "warning"))

    @property
    def error_count(self) -> int:
        return sum(problem.severity == "error" for problem in self.problems)


@dataclass(frozen=True, slots=True)
class _Level:
    """A list of the submission whose order must be the annotation file's."""

    name: str
    uid: str
    members: str


_VIDEOS = _Level("videos", "video_uid", "clips")
_CLIPS = _Level("clips", "clip_uid", "predictions")


def _check_head(submission: Document, version: object, report: _Report) -> None:
    """Check the keys around the results."""
    for key, expected in (("version", version), ("challenge", CHALLENGE)):
        if key not in submission:
            report.error(key, f"the key is missing; add it with the value {expected!r}")
        elif submission[key] != expected:
            report.error(key, f"found {submission[key]!r}, expected {expected!r}; write that")


def _check_nesting(videos: object, truths: Sequence[Document], report: _Report) -> None:
    """Check that videos, clips, annotations and query sets are the annotation file's, in order."""
    for v, video, video_truth in _aligned(videos, truths, _VIDEOS, "results", report):
        path = f"results.videos[{v}]"
        clips = _aligned(video["clips"], video_truth["clips"], _CLIPS, path, report)
        for c, clip, clip_truth in clips:
            _check_predictions(clip, clip_truth, f"{path}.clips[{c}]", report)


def _aligned(
    items: object, truths: Sequence[Document], level: _Level, path: str, report: _Report
) -> Iterator[tuple[int, Any, Document]]:
    """Position, entry and annotation of the entries that stand where they must."""
    path = f"{path}.{level.name}"
    if not isinstance(items, list):
        report.error(path, f"found {_kind(items)}, expected a list in the annotation file's order")
        return
    if len(items) != len(truths):
        report.error(
            path,
            f"found {len(items)} entries, expected {len(truths)}; write one for each of the "
            f"annotation file's {level.name}, with empty tracks where nothing was found",
        )
        return
    for position, (item, truth) in enumerate(zip(items, truths, strict=True)):
        place = f"{path}[{position}]"
        if not isinstance(item, dict) or level.uid not in item or level.members not in item:
            wanted = f"an object with {level.uid!r} and {level.members!r}"
            report.error(place, f"found {_kind(item)}, expected {wanted}")
        elif item[level.uid] != truth[level.uid]:
            report.error(
                f"{place}.{level.uid}",
                f"found {item[level.uid]!r}, expected {truth[level.uid]!r}; "
                f"bring the {level.name} into the annotation file's order",
            )
        else:
            yield position, item, truth


def _check_predictions(clip: Document, truth: Document, path: str, report: _Report) -> None:
    """Check the list of predictions of one clip against its annotations."""
    path = f"{path}.predictions"
    found, expected = clip["predictions"], truth["annotations"]
    if not isinstance(found, list):
        report.error(path, f"found {_kind(found)}, expected a list of {len(expected)} entries")
        return
    if len(found) != len(expected):
        report.error(
            path,
            f"found {len(found)} entries, expected {len(expected)}: one for each annotation, in "
            "the annotation file's order",
        )
        return
    for a, (prediction, annotation) in enumerate(zip(found, expected, strict=True)):
        place = f"{path}[{a}]"
        if not isinstance(prediction, dict) or not isinstance(prediction.get("query_sets"), dict):
            report.error(place, "expected an object whose 'query_sets' is an object keyed by id")
            continue
        uids = (prediction.get("annotation_uid"), annotation.get("annotation_uid"))
        if None not in uids and uids[0] != uids[1]:
            advice = "the scores go by position: check that the annotations are not swapped"
            report.warning(
                f"{place}.annotation_uid", f"found {uids[0]!r}, not {uids[1]!r}; {advice}"
            )
        _check_query_sets(
            prediction["query_sets"], annotation["query_sets"], f"{place}.query_sets", report
        )


def _check_query_sets(found: Document, truth: Document, path: str, report: _Report) -> None:
    """Check which query sets are there and that each is one track."""
    for name in found:
        if name not in truth:
            advice = "drop it, or check that the annotations are not swapped"
            report.error(f"{path}[{name!r}]", f"the annotation has only {sorted(truth)}; {advice}")
    for name, query_set in truth.items():
        if query_set["is_valid"] and name not in found:
            advice = 'where nothing was found write {"bboxes": [], "score": 0.0}'
            report.error(f"{path}[{name!r}]", f"this valid query set is missing; {advice}")
    for name, track in found.items():
        if not isinstance(track, dict):
            wanted = "one object with 'bboxes' and 'score'; keep the best track only"
            report.error(f"{path}[{name!r}]", f"found {_kind(track)}, expected {wanted}")
            continue
        for key in ("bboxes", "score"):
            if key not in track:
                report.error(f"{path}[{name!r}]", f"the key {key!r} is missing; add it")


def _check_tracks(submission: Document, queries: Iterable[AnnotatedQuery], report: _Report) -> None:
    """Check what only the evaluator looks at: boxes, frames and scores of the valid sets."""
    kinds: dict[bool, str] = {}
    for query in queries:
        path = prediction_path(query.key)
        track = predicted_track(submission, query.key)
        _check_score(track["score"], f"{path}.score", report)
        kinds.setdefault(isinstance(track["score"], str), f"{path}.score")
        if _check_boxes(track["bboxes"], f"{path}.bboxes", report) and track["bboxes"]:
            _check_frames(track["bboxes"], query.query_set, f"{path}.bboxes", report)
    if len(kinds) == 2:
        report.error(kinds[True], "text here, numbers elsewhere cannot be ranked; write numbers")


def _check_score(score: object, path: str, report: _Report) -> None:
    if isinstance(score, bool | str):
        how = "as text" if isinstance(score, str) else "as 0 or 1"
        report.warning(path, f"{score!r} is {_kind(score)} and ranked {how}; write a number")
    elif not isinstance(score, int | float):
        report.error(path, f"found {_kind(score)}, expected a number; 0.0 if there is no track")
    elif isinstance(score, int) and not is_finite(score):
        report.error(path, f"{TOO_LARGE}, so the evaluator fails on it; write one below 1e308")
    elif not is_finite(score):
        report.warning(path, f"found {score}, expected a finite number; NaN ranks above all others")


def _check_boxes(boxes: object, path: str, report: _Report) -> bool:
    """Check the form of the boxes of a track; true if their numbers can be looked at."""
    if not isinstance(boxes, list):
        report.error(path, f"found {_kind(boxes)}, expected a list of boxes")
        return False
    for position, box in enumerate(boxes):
        missing = [k for k in BOX_KEYS if k not in box] if isinstance(box, dict) else BOX_KEYS
        if missing:
            wanted = f"an object with {', '.join(BOX_KEYS)}"
            report.error(f"{path}[{position}]", f"found {_kind(box)}, expected {wanted}")
            return False
        wrong = [key for key in BOX_KEYS if not isinstance(box[key], int | float)]
        if wrong:
            found = f"{wrong[0]} is {box[wrong[0]]!r}"
            report.error(f"{path}[{position}]", f"{found}, expected a number")
            return False
        large = [k for k in BOX_KEYS if isinstance(box[k], int) and not is_finite(box[k])]
        if large:
            report.error(f"{path}[{position}].{large[0]}", f"{TOO_LARGE}; write one below 1e308")
            return False
    return True


def _check_frames(boxes: Sequence[Document], query: Document, path: str, report: _Report) -> None:
    """Check that a track is contiguous, sane and before its query."""
    frames = sorted(box["fno"] for box in boxes)
    if len(frames) != frames[-1] - frames[0] + 1:
        report.error(
            path,
            f"{len(frames)} boxes cannot fill frames {frames[0]}..{frames[-1]} one by one; "
            "write exactly one box for each frame between first and last",
        )
    elif len(set(frames)) != len(frames):
        report.warning(path, "a frame has two boxes and another none; write one box for each")
    if frames[0] < 0 or any(frame != int(frame) for frame in frames if is_finite(frame)):
        report.warning(path, f"frames start at {frames[0]}, expected whole numbers from 0 on")
    query_frame = query.get("query_frame")
    if isinstance(query_frame, int | float) and frames[-1] >= query_frame:
        advice = "the response lies before the query frame"
        report.warning(path, f"the last frame is {frames[-1]}, the query's {query_frame}; {advice}")
    if not all(is_finite(box[key]) for box in boxes for key in BOX_KEYS[1:]):
        report.warning(path, "a coordinate is not finite, so no overlap can be computed; mend it")
    elif any(box["x2"] <= box["x1"] or box["y2"] <= box["y1"] for box in boxes):
        report.warning(path, "a box has no area or is inverted; write x1 < x2 and y1 < y2")


def _kind(value: object) -> str:
    """JSON's name of the type of a value, with its article."""
    names = {dict: "an object", list: "a list", str: "text", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")
