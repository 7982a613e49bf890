"""Pointing: in a frame that shows the object, does the best token lie on it or somewhere else?

With recoloured twins of the object in the same scene this asks for the instance, not the class.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from eval.describe import Describe, Image, QueryKind, describe_crops, query_token
from ren_core.geometry import Boxes, Mask


@dataclass(frozen=True, slots=True)
class PointingCase:
    """A query object (image, half-open box) and frames with its true box."""

    name: str
    query_image: Image
    query_box_xyxy: Boxes
    frames: tuple[tuple[Image, Boxes], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class PointingRow:
    """Figures of one query.

    Attributes:
        name: The case's name.
        hits: Share of frames whose best token lies in the true box.
        margin: Best similarity inside the box minus the best outside it, averaged over frames.
    """

    name: str
    hits: float
    margin: float


def evaluate_pointing(
    cases: Iterable[PointingCase], describe: Describe, kind: QueryKind
) -> Iterator[PointingRow]:
    """Point at each query's object in its true frames, seen whole and as four quarters."""
    for case in cases:
        mask = box_mask(case.query_box_xyxy, case.query_image.shape[:2])
        token = query_token(describe(case.query_image), mask, kind)
        margins = []
        for image, box in case.frames:
            described = describe_crops(image, describe)
            similarity = described.similarity(token)
            inside = described.values_of(box_mask(box, image.shape[:2])).astype(bool)
            best_in = similarity[inside].max() if inside.any() else -1.0
            margins.append(best_in - (similarity[~inside].max() if (~inside).any() else -1.0))
        hits = float(np.mean(np.array(margins) > 0))
        yield PointingRow(name=case.name, hits=hits, margin=float(np.mean(margins)))


def box_mask(box_xyxy: Boxes, size_hw: tuple[int, ...]) -> Mask:
    """True (H, W) on the pixels that a half-open box touches; at least one pixel."""
    x1, y1 = np.floor(box_xyxy[:2]).astype(int)
    x2, y2 = np.ceil(box_xyxy[2:]).astype(int)
    mask = np.zeros(size_hw, bool)
    y1, x1 = min(max(y1, 0), size_hw[0] - 1), min(max(x1, 0), size_hw[1] - 1)
    mask[y1 : max(y2, y1 + 1), x1 : max(x2, x1 + 1)] = True
    return mask
