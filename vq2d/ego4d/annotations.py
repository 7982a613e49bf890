"""Ego4D's VQ2D annotation files as frozen types; the official JSON keys stay in this package.

Boxes become half-open ``xyxy`` in original pixels; frame numbers are clip frames at 5 fps. What a
file may lack (tracks, clip uids, whole query sets) is read as absent; what is damaged is listed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ren_core.errors import ConfigError, DataError
from ren_core.geometry import Boxes
from vq2d.ego4d.documents import AnnotatedQuery, is_finite, official_form, valid_query_sets
from vq2d.types import QueryKey, ResponseTrack, VisualQuery
from vq2d.video.timeline import CANONICAL_FPS

FILE_NAMES = {
    "train": "vq_train.json",
    "val": "vq_val.json",
    "test": "vq_test_unannotated.json",
}


@dataclass(frozen=True, slots=True)
class Clip:
    """A stretch of a video, and the queries that are asked in it.

    Attributes:
        video_uid: The video that the clip is cut from.
        clip_uid: Name of the clip's own file; None for clips that were never exported.
        video_start_frame: First frame in the 30-fps canonical video.
        video_end_frame: Last frame there (files may end one earlier or later).
        clip_fps: Annotation rate, frames per second.
        num_frames: Expected number of frames at that rate; the file decides.
        queries: Valid queries in file order.
    """

    video_uid: str
    clip_uid: str | None
    video_start_frame: int
    video_end_frame: int
    clip_fps: float
    num_frames: int
    queries: tuple[VisualQuery, ...]


@dataclass(frozen=True, slots=True)
class Annotations:
    """One annotation file.

    Attributes:
        version: The version string, to be echoed in a submission; empty if the file has none.
        split: ``"train"``, ``"val"`` or ``"test"``; ``"unknown"`` if the file does not say.
        path: Where it was read.
        clips: All readable clips in file order, also those without queries or clip uid.
        problems: One sentence per damaged annotation or part of one that was left out.
        query_sets: All valid query sets in file order as they stand there, also the damaged ones.
        damaged: The reason for each valid query set that could not become a query of ``clips``.
        document: The parsed file in the official form, for its order, its ids and its truth.
    """

    version: str
    split: str
    path: Path
    clips: tuple[Clip, ...]
    problems: tuple[str, ...]
    query_sets: tuple[AnnotatedQuery, ...]
    damaged: Mapping[QueryKey, str]
    document: Mapping[str, Any]

    def with_version(self, version: str) -> Annotations:
        """The same annotations under another version."""
        return replace(self, version=version, document={**self.document, "version": version})


@dataclass(slots=True)
class _Faults:
    """What is wrong with a file: sentences, and the reason for each query set left out."""

    problems: list[str]
    damaged: dict[QueryKey, str] = field(default_factory=dict)


def version_folders(root: Path) -> list[Path]:
    """Folders of the ego4d CLI's layout under ``root``: v2 first, then newer to older, then root.

    >>> version_folders(Path("/nowhere"))[0].name
    'v2'
    """
    others = sorted((p for p in root.glob("v[0-9]*") if p.name != "v2"), reverse=True)
    return [root / "v2", *others, root]


def has_annotations(root: Path) -> bool:
    """Whether any version of Ego4D's annotations lies under the ego4d CLI's output directory."""
    return any((folder / "annotations").is_dir() for folder in version_folders(root))


def annotation_path(root: Path, split: str) -> Path:
    """The annotation file of a split under the ego4d CLI's output directory.

    Raises:
        ConfigError: If the split is not one of train, val, test.
        DataError: If there is no such file; the message has the command that fetches it.
    """
    if split not in FILE_NAMES:
        raise ConfigError(f"split must be one of {', '.join(FILE_NAMES)}, got {split!r}")
    for folder in version_folders(root):
        path = folder / "annotations" / FILE_NAMES[split]
        if path.is_file():
            return path
    raise DataError(
        f"{root / 'v2' / 'annotations' / FILE_NAMES[split]} is missing; fetch it with "
        f"`ego4d --output_directory={root} --datasets annotations --version v2 -y`"
    )


def load_annotations(path: Path) -> Annotations:
    """Read a VQ annotation file of any split and version.

    Raises:
        DataError: If the file is missing or is no VQ annotation file.
    """
    document, problems = official_form(_read_document(path))
    query_sets = tuple(valid_query_sets(document))
    faults = _Faults(problems)
    clips: list[Clip] = []
    for video_idx, video in enumerate(document["videos"]):
        for clip_idx, raw in enumerate(video["clips"]):
            if raw == {"clip_uid": None, "annotations": []}:
                continue  # nothing is asked in it, or it was no object: a problem already
            try:
                clips.append(_clip(video, raw, video_idx, clip_idx, faults))
            except DataError as err:
                problems.append(f"v{video_idx}-c{clip_idx}: {err}")
                faults.damaged |= {
                    query.key: f"the annotation of its clip is damaged: {err}"
                    for query in query_sets
                    if (query.key.video_idx, query.key.clip_idx) == (video_idx, clip_idx)
                }
    version = document.get("version")
    return Annotations(
        version="" if version is None else str(version),
        split=_split(document, path),
        path=path,
        clips=tuple(clips),
        problems=tuple(problems),
        query_sets=query_sets,
        damaged=faults.damaged,
        document=document,
    )


def _read_document(path: Path) -> dict[str, Any]:
    """The file as a dictionary with a list of videos, some with query sets."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as err:
        raise DataError(f"{path} cannot be read ({err.strerror}); check the path") from err
    except ValueError as err:
        raise DataError(f"{path} is not JSON ({err}); download it again") from err
    if not isinstance(document, dict) or not isinstance(document.get("videos"), list):
        raise DataError(f'{path} has no list "videos", so it is no VQ annotation file')
    clips = [clip for video in document["videos"] for clip in _items(video, "clips")]
    found = [annotation for clip in clips for annotation in _items(clip, "annotations")]
    if found and not any(isinstance(a, dict) and "query_sets" in a for a in found):
        raise DataError(
            f'{path} has annotations without "query_sets"; expected a VQ file such as vq_val.json'
        )
    return document


def _items(raw: Any, key: str) -> list[Any]:  # noqa: ANN401
    """The list at ``key`` of an object; empty where there is none."""
    value = raw.get(key) if isinstance(raw, dict) else None
    return value if isinstance(value, list) else []


def _split(document: Mapping[str, Any], path: Path) -> str:
    """The split that the videos name, else the one that the file name says."""
    for video in document["videos"]:
        if video.get("split") in FILE_NAMES:
            return str(video["split"])
    return next((split for split in FILE_NAMES if split in path.stem), "unknown")


def _clip(
    video: Mapping[str, Any],
    raw: Mapping[str, Any],
    video_idx: int,
    clip_idx: int,
    faults: _Faults,
) -> Clip:
    """One clip and its valid queries; damaged queries go to ``faults``."""
    start = _video_frame(raw, "video_start")
    end = _video_frame(raw, "video_end")
    fps = _number(raw.get("clip_fps") or 5.0, "clip_fps")
    if fps <= 0:
        raise DataError(f"clip_fps is {fps}, expected a positive number")

    queries: list[VisualQuery] = []
    for annotation_idx, annotation in enumerate(raw["annotations"]):
        for name, query_set in annotation["query_sets"].items():
            if not query_set["is_valid"]:
                continue
            key = QueryKey(video_idx, clip_idx, annotation_idx, name)
            try:
                queries.append(_query(key, query_set, faults))
            except DataError as err:
                faults.problems.append(f"{key}: {err}")
                faults.damaged[key] = str(err)

    clip_uid = raw.get("clip_uid")
    return Clip(
        video_uid=str(video.get("video_uid", "")),
        clip_uid=str(clip_uid) if clip_uid else None,
        video_start_frame=start,
        video_end_frame=end,
        clip_fps=fps,
        num_frames=max(0, math.ceil((end - start) * fps / CANONICAL_FPS)),
        queries=tuple(queries),
    )


def _query(key: QueryKey, raw: Mapping[str, Any], faults: _Faults) -> VisualQuery:
    """The query of a valid set; a damaged track is only listed."""
    crop = raw.get("visual_crop")
    crop_frame, box, size_hw = _box(crop, "visual_crop")
    if not (box[2] > box[0] and box[3] > box[1]):
        raise DataError(f"visual_crop has no area: width and height must be > 0, got {crop!r:.120}")
    try:
        response = _response(_items(raw, "response_track"), size_hw)
    except DataError as err:
        faults.problems.append(f"{key}: {err}; the query is kept without its track")
        response = None
    title = raw.get("object_title")
    return VisualQuery(
        key=key,
        query_frame=_integer(raw.get("query_frame"), "query_frame"),
        crop_frame=crop_frame,
        crop_box_xyxy=box,
        original_size_hw=size_hw,
        response=response,
        object_title=None if title is None else str(title),
    )


def _response(raw: list[Any], size_hw: tuple[int, int]) -> ResponseTrack | None:
    """The track, sorted by frame; None where there is none."""
    if not raw:
        return None
    boxes = sorted((_box(item, "response_track") for item in raw), key=lambda box: box[0])
    frames = [frame for frame, _, _ in boxes]
    if frames != list(range(frames[0], frames[0] + len(frames))):
        raise DataError(f"response_track frames are not contiguous: {frames!s:.80}")
    if any(size != size_hw for _, _, size in boxes):
        raise DataError(f"response_track and visual_crop (h, w = {size_hw}) differ in image size")
    return ResponseTrack(frames[0], np.stack([box for _, box, _ in boxes]), 1.0)


def _box(raw: Any, what: str) -> tuple[int, Boxes, tuple[int, int]]:  # noqa: ANN401
    """Frame number, box (4,) xyxy in original pixels, original (height, width)."""
    if not isinstance(raw, dict):
        raise DataError(f"{what} is {raw!r:.40}, expected an object with x, y, width, height")
    x, y, width, height = (
        _number(raw.get(side), f"{what}.{side}") for side in ("x", "y", "width", "height")
    )
    H = _integer(raw.get("original_height"), f"{what}.original_height")
    W = _integer(raw.get("original_width"), f"{what}.original_width")
    if H < 1 or W < 1:
        raise DataError(f"{what} has image size {W} x {H}, expected at least 1 x 1")
    frame = _integer(raw.get("frame_number"), f"{what}.frame_number")
    return frame, np.array([x, y, x + width, y + height], np.float32), (H, W)


def _video_frame(raw: Mapping[str, Any], which: str) -> int:
    """A position in the 30-fps video: the frame if given, else the rounded second."""
    if raw.get(f"{which}_frame") is not None:
        return _integer(raw[f"{which}_frame"], f"{which}_frame")
    return round(_number(raw.get(f"{which}_sec"), f"{which}_sec") * CANONICAL_FPS)


def _number(value: Any, what: str) -> float:  # noqa: ANN401
    """A finite float."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not is_finite(value):
        raise DataError(f"{what} is {value!r:.40}, expected a finite number")
    return float(value)


def _integer(value: Any, what: str) -> int:  # noqa: ANN401
    """A whole number >= 0, also if written as a float."""
    number = _number(value, what)
    if number != int(number) or number < 0:
        raise DataError(f"{what} is {value!r:.40}, expected a whole number >= 0")
    return int(number)
