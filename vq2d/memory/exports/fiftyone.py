"""FiftyOne: a labelled video dataset, written without FiftyOne and its database.

The form is ``FiftyOneVideoLabelsDataset``: a manifest, and a file of labels for each video. The
videos stay where they are.
"""

from __future__ import annotations

import base64
import io
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ren_core.geometry import Boxes, Mask
from ren_core.stages import write_json
from vq2d.memory.exports.track import ExportTrack, VideoTracks, by_video

Json = dict[str, Any]
MANIFEST = "manifest.json"


def write_fiftyone(tracks: Sequence[ExportTrack], target: Path) -> list[Path]:
    """Write ``manifest.json`` and ``labels/NAME.json`` for each video.

    Frames are the file's, counted from 1; box edges are shares of the frame's width and height.
    A mask fills its box there, so of a known mask the part in the box is written, cut at whole
    pixels.

    Args:
        tracks: The answer; may be empty.
        target: The folder that ``fiftyone.Dataset.from_dir`` reads. The manifest names the
            videos by absolute path.

    Raises:
        DataError: If tracks of one video do not agree about its file.
    """
    index, written = [], []
    for video in by_video(tracks):
        labels = f"labels/{video.name}.json"
        index.append({"data": str(video.file.video.absolute()), "labels": labels})
        write_json(target / labels, {"frames": _frames(video)})
        written.append(target / labels)
    kind = "eta.core.datasets.labeled_datasets.LabeledVideoDataset"
    write_json(target / MANIFEST, {"type": kind, "description": "", "index": index})
    return [target / MANIFEST, *written]


def _frames(video: VideoTracks) -> Json:
    """The objects of each frame by its number from 1, as text, ascending."""
    objects: dict[int, list[Json]] = {}
    for track_id, track in video.tracks.items():
        for i, frame in enumerate(track.source_frames.tolist()):
            objects.setdefault(frame + 1, []).append(_object(track, i) | {"index": track_id})
    return {
        str(number): {"frame_number": number, "objects": {"objects": objects[number]}}
        for number in sorted(objects)
    }


def _object(track: ExportTrack, i: int) -> Json:
    """Box ``i`` of a track as FiftyOne's ``detections`` hold it."""
    H, W = track.size_hw
    x1, y1, x2, y2 = track.boxes_xyxy[i].tolist()
    found = {
        "type": "eta.core.objects.DetectedObject",
        "name": "detections",
        "label": track.label,
        "bounding_box": {
            "top_left": {"x": x1 / W, "y": y1 / H},
            "bottom_right": {"x": x2 / W, "y": y2 / H},
        },
        "confidence": float(track.score),
    }
    mask = None if track.masks is None else track.masks[i]
    return found if mask is None else found | _mask_in_box(mask, track.boxes_xyxy[i])


def _mask_in_box(mask: Mask, box_xyxy: Boxes) -> Json:
    """The mask's part in a box (4,) as a compressed NumPy file in text; nothing if it is empty."""
    x1, y1, x2, y2 = box_xyxy.round().astype(int)
    part = mask[y1:y2, x1:x2]
    if not part.size:
        return {}
    file = io.BytesIO()
    np.save(file, part)
    return {"mask": base64.b64encode(zlib.compress(file.getvalue())).decode()}
