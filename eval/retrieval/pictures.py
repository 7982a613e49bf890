"""Retrieval as pictures: the query object, and the first images with the point that found them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from eval.coco import CocoImage, CocoSplit
from eval.retrieval.queries import Query
from eval.retrieval.tokens import Ranked, read_checked, read_vectors
from ren_core.drawing import Picture, contact_sheet, draw_points, with_caption
from ren_core.geometry import Mask

Point = NDArray[np.float32]
"""(2,) row and column in pixels of an image."""

TILE = 176  # px, both sides; pictures keep their shape inside
BORDER = 5  # px
RIGHT, WRONG, NEUTRAL = (40, 170, 70), (215, 50, 40), (90, 90, 90)
QUERY, POINT = (255, 205, 0), (255, 60, 200)
TITLES = {"ren": "REN tokens", "patches": "patches"}


def spread(items: Sequence[int], count: int) -> list[int]:
    """``count`` of the items, evenly spread over the list, so that none is hand-picked.

    >>> spread([3, 5, 8, 9, 12], 3)
    [3, 8, 12]
    """
    count = min(count, len(items))
    return [items[int(i)] for i in np.linspace(0, len(items) - 1, count)] if count else []


def draw_retrievals(
    positions: Sequence[int],
    queries: Sequence[Query],
    split: CocoSplit,
    database: Sequence[CocoImage],
    ranked: Mapping[str, Ranked],
    *,
    tokens: Path,
    columns: int = 5,
) -> Picture:
    """One row per query and source: the query with its mask, then the first images.

    Args:
        positions: Which queries.
        queries: All queries, in the order of the rankings' rows.
        split: Where the queries come from.
        database: Images in the order of the rankings' columns.
        ranked: Rankings by source.
        tokens: Directory of ``database_tokens``.
        columns: Images per row.
    """
    tiles = []
    for position in positions:
        query = queries[position]
        asked = draw_query(split, query)
        others = np.array([image.image_id != query.image_id for image in database])
        for source, ranking in ranked.items():
            title = f"{split.categories[query.category_id]}: {TITLES[source]}"
            scores = np.where(others, ranking.scores[position], -np.inf)
            first = np.argsort(-scores, kind="stable")[: min(columns, int(others.sum()))]
            row = [with_caption(asked, title)]
            for i in first:
                points = read_vectors(tokens, database[i].image_id)[f"{source}_yx"]
                right = query.category_id in database[i].categories
                found = draw_found(database[i], points[ranking.best[position, i]], right=right)
                row.append(with_caption(found, f"cosine {scores[i]:.3f}"))
            row += [np.full_like(row[0], 255)] * (1 + columns - len(row))
            tiles += row
    return contact_sheet(tiles, 1 + columns)


def draw_query(split: CocoSplit, query: Query) -> Picture:
    """The query's image with its mask tinted and outlined, as a tile."""
    image = split.images[query.image_id]
    picture = read_checked(image)
    mask = split.mask(split.objects[query.annotation_id])
    return as_tile(tint(picture, mask), NEUTRAL)


def draw_found(image: CocoImage, point_yx: Point, *, right: bool) -> Picture:
    """A database image with the point that scored best; green border if it shows the category."""
    picture = read_checked(image)
    radius = max(3, max(picture.shape[:2]) // 40)
    drawn = draw_points(picture, point_yx[None], POINT, radius)
    return as_tile(drawn, RIGHT if right else WRONG)


def tint(picture: Picture, mask: Mask) -> Picture:
    """The picture, grey and darker outside a mask (H, W), the mask's border drawn."""
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)[..., None] * 0.45
    drawn = np.where(mask[..., None], picture, grey).astype(np.uint8)
    outlines, _ = cv2.findContours(
        mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE
    )
    thickness = max(2, max(mask.shape) // 150)
    cv2.drawContours(drawn, outlines, -1, QUERY, thickness, cv2.LINE_AA)
    return drawn


def as_tile(picture: Picture, colour: tuple[int, int, int]) -> Picture:
    """The picture shrunk into a square tile with a coloured border, white around it."""
    H, W = picture.shape[:2]
    room = TILE - 2 * BORDER
    scale = room / max(H, W)
    size = (max(1, round(W * scale)), max(1, round(H * scale)))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    framed = cv2.copyMakeBorder(small, *(BORDER,) * 4, cv2.BORDER_CONSTANT, value=colour)
    tile = np.full((TILE, TILE, 3), 255, np.uint8)
    top, left = (TILE - framed.shape[0]) // 2, (TILE - framed.shape[1]) // 2
    tile[top : top + framed.shape[0], left : left + framed.shape[1]] = framed
    return tile
