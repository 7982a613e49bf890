"""Pointing: in a frame that shows the object, does the best token lie on it or somewhere else?

With recoloured twins of the object in the same scene this asks for the instance, not the class.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from eval.reid.tokens import (
    Comparison,
    PointTokens,
    QueryKind,
    Tokenize,
    query_tokens,
    tokenize_crops,
)
from ren_core.geometry import Boxes, Mask
from ren_core.images import Image


@dataclass(frozen=True, slots=True)
class PointingCase:
    """A query object (image, half-open box), frames with its true box, and frames without it."""

    name: str
    query_image: Image
    query_box_xyxy: Boxes
    frames: tuple[tuple[Image, Boxes], ...]
    absent: tuple[Image, ...] = ()

    def query_mask(self) -> Mask:
        """(H, W), true on the object's box in the query image."""
        return box_mask(self.query_box_xyxy, self.query_image.shape[:2])


@dataclass(frozen=True, kw_only=True, slots=True)
class PointingRow:
    """Figures of one query in one comparison.

    Attributes:
        kind: Kind of tokens.
        query: What the query was made of.
        name: The case's name.
        hits: Share of frames whose best token lies in the true box.
        margin: Best similarity inside the box minus the best outside it, averaged over frames.
    """

    kind: str
    query: QueryKind
    name: str
    hits: float
    margin: float


def evaluate_pointing(
    cases: Iterable[PointingCase],
    tokenize: Tokenize,
    comparisons: Sequence[Comparison],
    *,
    tokenize_query: Tokenize | None = None,
) -> Iterator[PointingRow]:
    """Point at each query's object in its true frames, seen whole and as four quarters.

    Args:
        cases: Queries.
        tokenize: Makes the tokens of frames.
        comparisons: What is compared.
        tokenize_query: Makes the tokens of query images; None: as those of frames.
    """
    for case in cases:
        asked = (tokenize_query or tokenize)(case.query_image)
        queries = query_tokens(asked, case.query_mask(), comparisons)
        margins: list[list[float]] = [[] for _ in comparisons]
        for image, box in case.frames:
            found, true = tokenize_crops(image, tokenize), box_mask(box, image.shape[:2])
            for comparison, query, own in zip(comparisons, queries, margins, strict=True):
                own.append(margin(found[comparison.kind], query, true))
        for comparison, own in zip(comparisons, margins, strict=True):
            yield PointingRow(
                kind=comparison.kind,
                query=comparison.query,
                name=case.name,
                hits=float(np.mean(np.array(own) > 0)),
                margin=float(np.mean(own)),
            )


def margin(found: PointTokens, query: Tensor, mask: Mask) -> float:
    """Best similarity to a query token (D,) on a mask (H, W) minus the best off it."""
    (similarity,) = found.similarity(query[None])
    inside = found.values_of(mask).astype(bool)
    best_in = similarity[inside].max() if inside.any() else -1.0
    return float(best_in - (similarity[~inside].max() if (~inside).any() else -1.0))


def box_mask(box_xyxy: Boxes, size_hw: tuple[int, ...]) -> Mask:
    """True (H, W) on the pixels that a half-open box touches; at least one pixel."""
    x1, y1 = np.floor(box_xyxy[:2]).astype(int)
    x2, y2 = np.ceil(box_xyxy[2:]).astype(int)
    mask = np.zeros(size_hw, bool)
    y1, x1 = min(max(y1, 0), size_hw[0] - 1), min(max(x1, 0), size_hw[1] - 1)
    mask[y1 : max(y2, y1 + 1), x1 : max(x2, x1 + 1)] = True
    return mask
