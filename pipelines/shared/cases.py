"""Pointing queries of clips in Ego4D form: the object around its crop, and frames of its track."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from eval.reid.pointing import PointingCase
from ren_core.geometry import Boxes, expand_box
from vq2d.ego4d.annotations import annotation_path, load_annotations
from vq2d.ego4d.clips import open_clip
from vq2d.types import FrameSource, VisualQuery


def pointing_cases(
    root: Path, frames: int, limit: int | None, *, absent: int = 0
) -> Iterator[PointingCase]:
    """One case per query of the validation split whose track is known.

    Args:
        root: Folder of a set.
        frames: Frames of each query's true track.
        limit: Clips; None: all.
        absent: Frames of each query that do not show the object.
    """
    annotations = load_annotations(annotation_path(root, "val"))
    for clip in annotations.clips[:limit]:
        if clip.clip_uid is None:
            continue
        source = open_clip(root, clip)
        for query in clip.queries:
            if query.response:
                yield pointing_case(query, source, frames, absent)


def pointing_case(
    query: VisualQuery, source: FrameSource, frames: int, absent: int = 0
) -> PointingCase:
    """The query in a window around its crop, frames spread over its true track, and after it.

    The track is the object's last occurrence before the query frame, so that no frame between
    them shows the object.
    """
    assert query.response is not None
    last = len(source) - 1
    track = query.response.scaled(query.frame_scale(source.size_hw))
    window, box = query_window(query.crop_box_in(source.size_hw), source.size_hw)
    x1, y1, x2, y2 = window
    image = np.ascontiguousarray(source[min(query.crop_frame, last)][y1:y2, x1:x2])
    shown = tuple(
        (source[min(track.start_frame + i, last)], track.boxes_xyxy[i])
        for i in spread(0, len(track.boxes_xyxy), frames)
    )
    gone = (min(i, last) for i in spread(track.end_frame, query.query_frame, absent))
    return PointingCase(str(query.key), image, box, shown, tuple(source[i] for i in gone))


def spread(first: int, stop: int, count: int) -> list[int]:
    """``count`` indices evenly inside ``first`` .. ``stop - 1``, away from both ends.

    >>> spread(10, 21, 3), spread(5, 5, 3)
    ([12, 15, 18], [])
    """
    if stop <= first:
        return []
    return [int(i) for i in np.linspace(first, stop - 1, count + 2).round()[1:-1]]


def query_window(
    box_xyxy: Boxes, size_hw: tuple[int, int]
) -> tuple[tuple[int, int, int, int], Boxes]:
    """A window of the frame's shape, 1.6 times the box (at least a sixth of the frame).

    Returns:
        The window (x1, y1, x2, y2) in whole pixels of the frame, and the box in its pixels.
    """
    size_wh = np.array(size_hw[::-1], np.float32)
    wanted = expand_box(box_xyxy, 1.6)
    share = float(np.clip(((wanted[2:] - wanted[:2]) / size_wh).max(), 1 / 6, 1))
    half = size_wh * share / 2
    centre = np.clip((wanted[:2] + wanted[2:]) / 2, half, size_wh - half)
    low = np.floor(centre - half).astype(int)
    high = np.ceil(centre + half).astype(int)
    x1, y1 = (int(v) for v in np.maximum(low, 0))
    x2, y2 = (int(v) for v in np.minimum(high, size_wh.astype(int)))
    return (x1, y1, x2, y2), (box_xyxy - np.array([x1, y1, x1, y1])).astype(np.float32)
