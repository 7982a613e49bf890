"""The official JSON documents: reading them, and walking over the query sets they hold."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ren_core.errors import DataError
from vq2d.types import QueryKey

Document = Mapping[str, Any]

CHALLENGE = "ego4d_vq2d_challenge"
BOX_KEYS = ("fno", "x1", "y1", "x2", "y2")


@dataclass(frozen=True, slots=True)
class AnnotatedQuery:
    """A valid query set as it stands in the annotation file."""

    key: QueryKey
    clip_uid: str | None
    query_set: Document


def load_document(source: str | Path | Document) -> Document:
    """A JSON document, read from a file unless it is one already.

    Raises:
        DataError: If the file is missing, is not JSON or does not hold an object.
    """
    if isinstance(source, Mapping):
        return source
    try:
        document = json.loads(Path(source).read_text(encoding="utf-8"))
    except OSError as err:
        raise DataError(f"cannot read {source}: {err.strerror}; check the path") from err
    except ValueError as err:
        raise DataError(f"{source} is not JSON ({err}); write or download it again") from err
    if not isinstance(document, dict):
        kind = type(document).__name__
        raise DataError(f"{source} holds a {kind}; expected a JSON object in the official form")
    return document


def official_form(document: Document) -> tuple[dict[str, Any], list[str]]:
    """An annotation document in the nesting that the official readers need, and what it lacked.

    Entries keep their positions, by which submissions are matched: an entry that is no object or
    list is replaced by an empty one. A missing ``clip_uid`` becomes null. A query set without
    ``is_valid`` counts as valid if it has a crop. What query sets hold is not checked.

    Args:
        document: An annotation file that has at least a list of videos.

    Returns:
        A new document that shares what was in order, and one sentence per fault.

    Raises:
        DataError: If there is no list of videos.
    """
    if not isinstance(document.get("videos"), list):
        raise DataError('the annotation file has no list "videos"; expected a file as vq_val.json')
    problems: list[str] = []
    videos = []
    for v, raw_video in enumerate(document["videos"]):
        video = _entry(raw_video, f"v{v}", problems)
        clips = []
        for c, raw_clip in enumerate(_list(video, "clips", f"v{v}", problems)):
            clip = _entry(raw_clip, f"v{v}-c{c}", problems)
            found = _list(clip, "annotations", f"v{v}-c{c}", problems)
            annotations = [
                _annotation(raw, f"v{v}-c{c}-a{a}", problems) for a, raw in enumerate(found)
            ]
            clips.append({"clip_uid": None} | clip | {"annotations": annotations})
        videos.append({"video_uid": ""} | video | {"clips": clips})
    return {**document, "videos": videos}, problems


def _entry(raw: Any, place: str, problems: list[str]) -> dict[str, Any]:  # noqa: ANN401
    """The object at a place; an empty one, and a problem, where there is something else."""
    if isinstance(raw, dict):
        return raw
    problems.append(f"{place}: expected an object, got {raw!r:.40}")
    return {}


def _list(raw: Document, key: str, place: str, problems: list[str]) -> list[Any]:
    """The list at a key; an empty one, and a problem, where an entry has something else."""
    value = raw.get(key, [])
    if isinstance(value, list):
        return value
    problems.append(f'{place}: "{key}" is {value!r:.40}, expected a list')
    return []


def _annotation(raw: Any, place: str, problems: list[str]) -> dict[str, Any]:  # noqa: ANN401
    """An annotation whose query sets all say whether they are valid."""
    annotation = _entry(raw, place, problems)
    found = annotation.get("query_sets")
    if isinstance(raw, dict) and not isinstance(found, dict):
        problems.append(f'{place}: no object "query_sets"')
    sets = {}
    for name, raw_set in found.items() if isinstance(found, dict) else ():
        query_set = _entry(raw_set, f"{place}-q{name}", problems)
        is_valid = query_set.get("is_valid", "visual_crop" in query_set)
        sets[name] = {**query_set, "is_valid": bool(is_valid)}
    return {**annotation, "query_sets": sets}


def valid_query_sets(annotations: Document) -> Iterator[AnnotatedQuery]:
    """The valid query sets of an annotation document in file order.

    Raises:
        DataError: If the document is not nested as videos > clips > annotations > query_sets.
    """
    try:
        for v, video in enumerate(annotations["videos"]):
            for c, clip in enumerate(video["clips"]):
                for a, annotation in enumerate(clip["annotations"]):
                    for name, query_set in annotation["query_sets"].items():
                        if query_set["is_valid"]:
                            key = QueryKey(v, c, a, name)
                            yield AnnotatedQuery(key, clip["clip_uid"], query_set)
    except (KeyError, TypeError, AttributeError) as err:
        raise DataError(
            f"the annotation file is not in the official form ({type(err).__name__}: {err}); "
            "expected videos > clips > annotations > query_sets, each set with is_valid"
        ) from err


def is_finite(number: float) -> bool:
    """Whether a JSON number is a finite float; whole numbers may have any number of digits.

    >>> is_finite(10**400), is_finite(3)
    (False, True)
    """
    try:
        return math.isfinite(number)
    except OverflowError:
        return False


def prediction_path(key: QueryKey) -> str:
    """Where the prediction of a query stands in a submission.

    >>> prediction_path(QueryKey(3, 0, 1, "2"))
    "results.videos[3].clips[0].predictions[1].query_sets['2']"
    """
    place = f"videos[{key.video_idx}].clips[{key.clip_idx}].predictions[{key.annotation_idx}]"
    return f"results.{place}.query_sets[{key.query_set!r}]"


def predicted_track(submission: Document, key: QueryKey) -> Document:
    """The entry of one query in a submission that ``validate`` found in order."""
    clip = submission["results"]["videos"][key.video_idx]["clips"][key.clip_idx]
    track: Document = clip["predictions"][key.annotation_idx]["query_sets"][key.query_set]
    return track


def has_truth(queries: Iterable[AnnotatedQuery]) -> bool:
    """Whether any valid query set has a response track; the test split has none."""
    return any(query.query_set.get("response_track") for query in queries)


def empty_track() -> dict[str, Any]:
    """The prediction of a query that was not answered: a miss."""
    return {"bboxes": [], "score": 0.0}
