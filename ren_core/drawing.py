"""Pictures of region tokens: prompts, regions, attention."""

from __future__ import annotations

import colorsys

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
"""(H, W, 3) RGB."""

GOLDEN = 0.61803398875  # hue step that keeps neighbours apart


def palette(count: int) -> NDArray[np.uint8]:
    """``count`` distinct RGB colours (count, 3), always the same."""
    colours = [
        colorsys.hsv_to_rgb(i * GOLDEN % 1, 0.55 + 0.35 * (i % 3) / 2, 1 - 0.25 * (i % 2))
        for i in range(count)
    ]
    return (np.array(colours).reshape(count, 3) * 255).astype(np.uint8)


def draw_points(
    picture: Picture, points_yx: NDArray[np.floating], colour: tuple[int, int, int], radius: int = 2
) -> Picture:
    """Filled dots with a dark rim at points (N, 2) in pixels of the picture."""
    drawn = picture.copy()
    for y, x in points_yx:
        centre = (int(x), int(y))
        cv2.circle(drawn, centre, radius + 1, (0, 0, 0), -1, cv2.LINE_AA)
        cv2.circle(drawn, centre, radius, colour, -1, cv2.LINE_AA)
    return drawn


def draw_regions(picture: Picture, labels: NDArray[np.int32], opacity: float = 0.55) -> Picture:
    """Colour every region of a label map (R, R) over a picture; pixels at -1 turn grey."""
    H, W = picture.shape[:2]
    large = cv2.resize(labels.astype(np.float32), (W, H), interpolation=cv2.INTER_NEAREST)
    large = large.astype(np.int32)
    colours = np.vstack([palette(int(labels.max()) + 1), [[90, 90, 90]]])
    mixed = picture * (1 - opacity) + colours[large] * opacity
    drawn = mixed.round().astype(np.uint8)
    edge = np.zeros((H, W), bool)
    edge[:, 1:] |= large[:, 1:] != large[:, :-1]
    edge[1:] |= large[1:] != large[:-1]
    drawn[edge] = 255
    return drawn


def draw_attention(
    picture: Picture, attention: NDArray[np.floating], point_yx: tuple[float, float]
) -> Picture:
    """One point's attention (h, w) as a heat map over the picture, the point marked."""
    H, W = picture.shape[:2]
    scaled = attention / max(float(attention.max()), 1e-12)
    heat = cv2.resize(scaled.astype(np.float32), (W, H), interpolation=cv2.INTER_CUBIC).clip(0, 1)
    coloured = cv2.applyColorMap((heat * 255).astype(np.uint8), cv2.COLORMAP_TURBO)[..., ::-1]
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)[..., None]
    mixed = grey * (1 - 0.75 * heat[..., None]) + coloured * 0.75 * heat[..., None]
    return draw_points(
        mixed.clip(0, 255).astype(np.uint8), np.array([point_yx]), (255, 255, 255), 5
    )


def with_caption(picture: Picture, caption: str, height: int = 24) -> Picture:
    """The picture under a dark bar that holds one line of text."""
    bar = np.full((height, picture.shape[1], 3), 24, np.uint8)
    scale = min(0.5, picture.shape[1] / (10.5 * max(len(caption), 1)) * 0.5)
    cv2.putText(
        bar,
        caption,
        (6, height - 8),
        cv2.FONT_HERSHEY_SIMPLEX,
        scale,
        (240, 240, 240),
        1,
        cv2.LINE_AA,
    )
    return np.vstack([bar, picture])


def contact_sheet(pictures: list[Picture], columns: int) -> Picture:
    """Pictures of one size in rows of ``columns``, white between them."""
    H, W = pictures[0].shape[:2]
    blank = np.full((H, W, 3), 255, np.uint8)
    padded = pictures + [blank] * (-len(pictures) % columns)
    framed = [
        cv2.copyMakeBorder(p, 3, 3, 3, 3, cv2.BORDER_CONSTANT, value=(255,) * 3) for p in padded
    ]
    rows = [np.hstack(framed[i : i + columns]) for i in range(0, len(framed), columns)]
    return np.vstack(rows)
