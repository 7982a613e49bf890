"""COCO: one JSON file of all videos, an image for each exported frame."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ren_core.geometry import Mask
from ren_core.stages import write_json
from vq2d.memory.exports.track import ExportTrack, VideoTracks, by_video

Json = dict[str, Any]
FILE = "instances.json"


def write_coco(tracks: Sequence[ExportTrack], target: Path) -> list[Path]:
    """Write ``instances.json``, which pycocotools reads.

    Boxes are 0-based pixels (left, top, width, height); ``frame`` of an image is the file's
    frame, 0-based, and ``time_s`` its time. An annotation has a ``segmentation`` only where the
    thing's pixels are known.

    Args:
        tracks: The answer; may be empty.
        target: The folder.

    Raises:
        DataError: If tracks of one video do not agree about its file.
    """
    videos = by_video(tracks)
    labels = dict.fromkeys(track.label for track in tracks)
    categories = {label: number for number, label in enumerate(labels, start=1)}
    images = _images(videos)
    annotations = [
        {"id": number, **annotation}
        for number, annotation in enumerate(_annotations(videos, images, categories), start=1)
    ]
    document = {
        "info": {"description": "where a thing was seen"},
        "licenses": [],
        "images": list(images.values()),
        "annotations": annotations,
        "categories": [
            {"id": number, "name": label, "supercategory": "thing"}
            for label, number in categories.items()
        ],
    }
    write_json(target / FILE, document)
    return [target / FILE]


def _images(videos: Sequence[VideoTracks]) -> dict[tuple[str, int], Json]:
    """One image for each frame of a video that some track shows, by name and source frame."""
    images: dict[tuple[str, int], Json] = {}
    for video in videos:
        H, W = video.file.size_hw
        for track in video.tracks.values():
            times = zip(track.source_frames.tolist(), track.times_s.tolist(), strict=True)
            for frame, time_s in times:
                image = {
                    "id": len(images) + 1,
                    "file_name": f"{video.name}/{frame:06d}.jpg",
                    "width": W,
                    "height": H,
                    "video": str(track.video),
                    "frame": frame,
                    "time_s": time_s,
                }
                images.setdefault((video.name, frame), image)
    return images


def _annotations(
    videos: Sequence[VideoTracks],
    images: Mapping[tuple[str, int], Json],
    categories: Mapping[str, int],
) -> Iterator[Json]:
    """Box by box, still without ids."""
    for video in videos:
        for track_id, track in video.tracks.items():
            places = track.boxes_xywh.tolist()
            for i, frame in enumerate(track.source_frames.tolist()):
                yield {
                    "image_id": images[video.name, frame]["id"],
                    "category_id": categories[track.label],
                    "bbox": places[i],
                    "area": places[i][2] * places[i][3],
                    "iscrowd": 0,
                    "track_id": track_id,
                    "score": float(track.score),
                } | _segmentation(None if track.masks is None else track.masks[i])


def _segmentation(mask: Mask | None) -> Json:
    """The fields that a mask (H, W) decides: run lengths as text, and the area in pixels."""
    if mask is None:
        return {}
    from pycocotools import mask as coco_mask

    rle = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {
        "area": float(mask.sum()),
        "segmentation": {"size": list(mask.shape), "counts": rle["counts"].decode()},
    }
