"""The official JSON documents: reading them, and walking over the query sets they hold."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
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


def has_truth(annotations: Document) -> bool:
    """Whether any valid query set has a response track; the test split has none."""
    return any(query.query_set.get("response_track") for query in valid_query_sets(annotations))


def empty_track() -> dict[str, Any]:
    """The prediction of a query that was not answered: a miss."""
    return {"bboxes": [], "score": 0.0}
