"""Boxes, text and pictures painted into RGB arrays, and the colours of every drawing."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import cv2
import matplotlib
import numpy as np
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont

from ren_core.drawing import Picture
from ren_core.geometry import Boxes

Colour = tuple[int, int, int]

# Four hues that stay apart for colour-blind eyes (after Okabe and Ito).
PREDICTED: Colour = (240, 134, 18)
TRUTH: Colour = (62, 158, 224)
QUERY: Colour = (204, 121, 167)
CANDIDATE: Colour = (0, 168, 122)

PAPER: Colour = (22, 24, 29)
TEXT: Colour = (232, 234, 238)
FAINT: Colour = (142, 148, 158)
GRID: Colour = (52, 56, 64)
BLACK: Colour = (0, 0, 0)
WHITE: Colour = (255, 255, 255)


def hex_colour(colour: Colour) -> str:
    """The colour as matplotlib and CSS write it.

    >>> hex_colour((255, 0, 16))
    '#ff0010'
    """
    return "#{:02x}{:02x}{:02x}".format(*colour)


@lru_cache(maxsize=16)
def load_font(size: int, *, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name), size)


def paint_text(
    picture: Picture,
    text: str,
    place_xy: tuple[float, float],
    *,
    size: int = 12,
    colour: Colour = TEXT,
    anchor: str = "lm",
    bold: bool = False,
) -> None:
    """Write one line into a picture; ``anchor`` as in Pillow (``"lm"``: left, middle)."""
    canvas = PillowImage.fromarray(picture)
    font = load_font(size, bold=bold)
    ImageDraw.Draw(canvas).text(place_xy, text, fill=colour, font=font, anchor=anchor)
    picture[:] = np.asarray(canvas)


def text_width(text: str, size: int, *, bold: bool = False) -> float:
    """Width of a line in pixels."""
    return load_font(size, bold=bold).getlength(text)


def shorten(text: str, width: float, size: int, *, bold: bool = False) -> str:
    """The text, or as much of its beginning as fits into ``width`` pixels, and an ellipsis."""
    if text_width(text, size, bold=bold) <= width:
        return text
    kept = len(text)
    while kept and text_width(text[:kept].rstrip() + "…", size, bold=bold) > width:
        kept -= 1
    return text[:kept].rstrip() + "…"


def paint_box(
    picture: Picture, box_xyxy: Boxes, colour: Colour, *, thickness: int = 2, dash: int = 0
) -> None:
    """Outline a half-open box, the line just inside its border, with a dark rim inside and out.

    Args:
        picture: Painted in place; parts outside of it are left out.
        box_xyxy: (4,) pixels of the picture, rounded to whole ones.
        colour: Of the line.
        thickness: Of the line, px.
        dash: Length of dashes and gaps, px; 0 for a solid line.
    """
    _paint_ring(picture, box_xyxy, BLACK, margin=1, thickness=thickness + 2, dash=dash)
    _paint_ring(picture, box_xyxy, colour, margin=0, thickness=thickness, dash=dash)


def _paint_ring(
    picture: Picture, box_xyxy: Boxes, colour: Colour, *, margin: int, thickness: int, dash: int
) -> None:
    """Paint the pixels between the box grown by ``margin`` and ``thickness`` pixels inside that."""
    H, W = picture.shape[:2]
    left, top, right, bottom = np.round(box_xyxy).astype(int)
    ys = np.arange(top - margin, max(bottom, top + 1) + margin)
    xs = np.arange(left - margin, max(right, left + 1) + margin)
    beside = np.minimum(xs - xs[0], xs[-1] - xs) < thickness  # columns of the upright sides
    across = np.minimum(ys - ys[0], ys[-1] - ys) < thickness  # rows of the level sides
    inked_y = (ys - top) // dash % 2 == 0 if dash else np.ones(len(ys), np.bool_)
    inked_x = (xs - left) // dash % 2 == 0 if dash else np.ones(len(xs), np.bool_)
    ring = (across[:, None] & inked_x) | (inked_y[:, None] & beside)
    visible = ((ys >= 0) & (ys < H))[:, None] & (xs >= 0) & (xs < W)
    rows, columns = np.nonzero(ring & visible)
    picture[ys[rows], xs[columns]] = colour


def fit_inside(picture: Picture, size: int) -> Picture:
    """Scale so that the longer side has ``size`` pixels; sides stay at least one pixel."""
    H, W = picture.shape[:2]
    factor = size / max(H, W)
    width, height = max(1, round(W * factor)), max(1, round(H * factor))
    method = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(picture, (width, height), interpolation=method), np.uint8)


def in_a_row(pictures: Sequence[Picture], gap: int = 3) -> Picture:
    """Pictures side by side, centred, on the ground of a page; one alone as it is."""
    height = max(len(picture) for picture in pictures)
    width = sum(picture.shape[1] for picture in pictures) + gap * (len(pictures) - 1)
    row = np.full((height, width, 3), PAPER, np.uint8)
    left = 0
    for picture in pictures:
        paint_picture(row, picture, left, (height - len(picture)) // 2)
        left += picture.shape[1] + gap
    return row


def paint_picture(picture: Picture, small: Picture, left: int, top: int) -> None:
    """Lay a picture over another; what sticks out is cut off."""
    place = picture[max(top, 0) :, max(left, 0) :]
    part = small[max(-top, 0) :, max(-left, 0) :][: place.shape[0], : place.shape[1]]
    place[: part.shape[0], : part.shape[1]] = part
