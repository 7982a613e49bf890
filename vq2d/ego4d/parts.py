"""Parts of a submission, made by several machines, and the submission that they make together.

A part is a submission that holds the query sets of some clips only: the challenge would refuse it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from ren_core.errors import DataError
from vq2d.ego4d.annotations import Annotations, Clip
from vq2d.ego4d.documents import CHALLENGE, Document, predicted_track, valid_query_sets
from vq2d.ego4d.submission import build_submission
from vq2d.types import QueryKey


def shard_of(annotations: Annotations, number: int, count: int) -> list[Clip]:
    """The clips of one of ``count`` shards of about the same work, in file order.

    Clips are dealt out by how far they are searched, so that it depends on the file alone.

    Args:
        annotations: The annotation file.
        number: Of the shard, from 1.
        count: Of shards.
    """
    by_work = sorted(annotations.clips, key=_search_end, reverse=True)
    mine = {id(clip) for clip in by_work[number - 1 :: count]}
    return [clip for clip in annotations.clips if id(clip) in mine]


def shard_keys(annotations: Annotations, number: int, count: int) -> set[QueryKey]:
    """The queries of a shard; the damaged ones, which belong to no clip, are the first one's."""
    keys = {query.key for clip in shard_of(annotations, number, count) for query in clip.queries}
    return keys | (set(annotations.damaged) if number == 1 else set())


def part_of(submission: Document, keys: Collection[QueryKey]) -> Document:
    """What a submission says of some of its queries."""
    videos = [
        {
            **video,
            "clips": [
                {
                    **clip,
                    "predictions": [
                        {
                            **prediction,
                            "query_sets": {
                                name: track
                                for name, track in prediction["query_sets"].items()
                                if QueryKey(v, c, a, name) in keys
                            },
                        }
                        for a, prediction in enumerate(clip["predictions"])
                    ],
                }
                for c, clip in enumerate(video["clips"])
            ],
        }
        for v, video in enumerate(submission["results"]["videos"])
    ]
    return {**submission, "results": {"videos": videos}}


def merge_parts(
    parts: Mapping[Path, Document], annotations: Document, *, partial: bool = False
) -> Document:
    """The submission that parts make together, byte for byte that of one run.

    Args:
        parts: By the file that each was read from.
        annotations: The annotation file that all of them answer.
        partial: Whether queries may be missing; they become empty predictions.

    Raises:
        DataError: If a part answers another file, a query is in two parts, or one is missing.
    """
    version = next(iter(parts.values())).get("version") if parts else None
    merged = build_submission(annotations, {}, version=version)
    answered: dict[QueryKey, Path] = {}
    for path, part in parts.items():
        _check_fits(path, part, merged)
        for key in _keys(part):
            if key in answered:
                raise DataError(
                    f"query {key} is in {answered[key]} and in {path}; give each part once, of "
                    "shards with the same count"
                )
            answered[key] = path
            sets = merged["results"]["videos"][key.video_idx]["clips"][key.clip_idx]["predictions"]
            sets[key.annotation_idx]["query_sets"][key.query_set] = predicted_track(part, key)
    asked = [query.key for query in valid_query_sets(annotations)]
    _check_complete(asked, answered, partial=partial)
    return merged


def _search_end(clip: Clip) -> int:
    return max((query.query_frame for query in clip.queries), default=0)


def _keys(part: Document) -> Iterable[QueryKey]:
    for v, video in enumerate(part["results"]["videos"]):
        for c, clip in enumerate(video["clips"]):
            for a, prediction in enumerate(clip["predictions"]):
                for name in prediction["query_sets"]:
                    yield QueryKey(v, c, a, name)


def _check_fits(path: Path, part: Document, merged: Document) -> None:
    """Refuse a part of another annotation file, or with another version."""
    if part.get("challenge") != CHALLENGE:
        raise DataError(f"{path} is no part of a submission; give files that --shard has written")
    if part["version"] != merged["version"]:
        raise DataError(
            f"{path} has version {part['version']!r}, the others {merged['version']!r}; make all "
            "parts with the same annotation file and --version"
        )
    if _skeleton(part) != _skeleton(merged):
        raise DataError(
            f"{path} has other videos, clips or annotations than the annotation file; give the "
            "file (and so the split) that its shard was made with"
        )


def _skeleton(submission: Document) -> list[object]:
    """The ids of all that a submission holds, in order."""
    return [
        (video["video_uid"], [(c["clip_uid"], len(c["predictions"])) for c in video["clips"]])
        for video in submission["results"]["videos"]
    ]


def _check_complete(
    asked: Sequence[QueryKey], answered: Mapping[QueryKey, Path], *, partial: bool
) -> None:
    known = set(asked)
    unknown = [key for key in answered if key not in known]
    if unknown:
        raise DataError(
            f"query {unknown[0]} (one of {len(unknown)}) of {answered[unknown[0]]} is no valid "
            "query of the annotation file; give the file of its shard"
        )
    missing = [key for key in asked if key not in answered]
    if missing and not partial:
        raise DataError(
            f"query {missing[0]} (one of {len(missing)} of {len(asked)}) is in no part; give the "
            "parts of all shards, or --partial to leave them empty"
        )
