"""Boxes over time and how much two of them overlap, in the official evaluator's arithmetic.

Python floats and signed areas on purpose: float32 boxes, or inverted boxes clipped to nothing as
in ``ren_core.geometry``, would move overlaps across the thresholds of the official figures.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ren_core.errors import DataError

Box = tuple[float, float, float, float]
"""x1, y1, x2, y2 in original pixels; an inverted box has the area its signs give."""


@dataclass(frozen=True, slots=True)
class Tube:
    """Boxes over time, sorted by frame; empty for a query that was not answered.

    Attributes:
        frames: Clip frames (0-based, 5 fps), ascending.
        boxes: One box for each entry of ``frames``.
    """

    frames: tuple[float, ...]
    boxes: tuple[Box, ...]

    @classmethod
    def from_pairs(cls, pairs: Iterable[tuple[float, Box]]) -> Tube:
        """Sort boxes by frame; they must be as many as there are frames from first to last."""
        ordered = sorted(pairs, key=lambda pair: pair[0])
        frames, boxes = tuple(f for f, _ in ordered), tuple(b for _, b in ordered)
        if frames and len(frames) != frames[-1] - frames[0] + 1:
            raise DataError(
                f"{len(frames)} boxes cannot fill frames {frames[0]}..{frames[-1]} one by one; "
                "a track needs one box for every frame between its first and last"
            )
        return cls(frames, boxes)

    @property
    def extent(self) -> tuple[float, float]:
        """First and last frame, inclusive; (0, -1) if empty."""
        return (self.frames[0], self.frames[-1]) if self.frames else (0, -1)

    @property
    def volume(self) -> float:
        """Sum of all box areas."""
        return sum(map(box_area, self.boxes), 0.0)


def box_area(box: Box) -> float:
    """Area in px; negative if one side is inverted, positive if both are."""
    x1, y1, x2, y2 = box
    return (x2 - x1) * (y2 - y1)


def box_intersection(a: Box, b: Box) -> float:
    """Common area of two boxes in px, never negative."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    return max(0.0, width) * max(0.0, height)


def temporal_iou(predicted: Tube, truth: Tube) -> float:
    """Overlap of two frame ranges, both ends inclusive.

    >>> box = (0.0, 0.0, 1.0, 1.0)
    >>> temporal_iou(Tube((1, 2), (box, box)), Tube((2, 3), (box, box)))
    0.3333333333333333
    """
    (start, end), (true_start, true_end) = predicted.extent, truth.extent
    overlap = max(0.0, min(end, true_end) - max(start, true_start) + 1)
    return overlap / ((end - start + 1) + (true_end - true_start + 1) - overlap)


def tube_iou(predicted: Tube, truth: Tube) -> float:
    """Overlap of two tubes: box intersections of common frames over the union of all areas.

    Raises:
        ZeroDivisionError: If the areas cancel or are all zero.
    """
    by_frame = dict(zip(predicted.frames, predicted.boxes, strict=True))
    overlap = 0.0
    for frame, box in zip(truth.frames, truth.boxes, strict=True):
        if frame in by_frame:
            overlap += box_intersection(by_frame[frame], box)
    return overlap / (predicted.volume + truth.volume - overlap)


def recovered_frames(predicted: Tube, truth: Tube, threshold: float) -> int:
    """Number of true frames whose predicted box overlaps the true one by ``threshold`` or more.

    Raises:
        ZeroDivisionError: If the areas of two boxes of a frame cancel or are zero.
    """
    by_frame = dict(zip(truth.frames, truth.boxes, strict=True))
    ious: dict[float, float] = {}
    for frame, box in zip(predicted.frames, predicted.boxes, strict=True):
        if frame in by_frame:
            overlap = box_intersection(by_frame[frame], box)
            ious[frame] = overlap / (box_area(by_frame[frame]) + box_area(box) - overlap)
    return sum(iou >= threshold for iou in ious.values())
