"""An object in a picture file or in a frame, as a question shows it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ren_core.errors import ConfigError
from ren_core.geometry import Boxes, mask_to_box
from vq2d.types import FrameSource, ObjectView
from vq2d.video.pictures import read_picture


def view_in_frame(frames: FrameSource, frame_idx: int, box_xywh: Sequence[float]) -> ObjectView:
    """What a frame of a video shows in a box (x, y, width, height), in its pixels.

    Raises:
        ConfigError: If the box is not four finite numbers with an area that touches the frame.
    """
    box = _box_inside("--box", box_xywh, frames.size_hw, "the video's picture")
    return ObjectView(frames[frame_idx], box)


def views_of_pictures(
    pictures: Sequence[Path],
    box_xywh: Sequence[float] | None = None,
    *,
    option: str = "--query-box",
) -> tuple[ObjectView, ...]:
    """The object that fills some pictures, or the opaque part of each, or a box of the only one.

    Args:
        pictures: At least one file; exactly one with ``box_xywh``.
        box_xywh: (x, y, width, height) in pixels of the upright picture of the file.
        option: What the box is called in messages.

    Raises:
        ConfigError: If there is a box and not one picture, or the box is not four finite numbers
            with an area that shows something of the picture.
        DataError: If a picture cannot be read.
    """
    if box_xywh is None:
        return tuple(_view_of(path) for path in pictures)
    if len(pictures) != 1:
        raise ConfigError(f"{option} belongs to exactly one picture, got {len(pictures)}")
    return (_view_in_box(pictures[0], box_xywh, option),)


def _view_of(path: Path) -> ObjectView:
    """What a picture shows: its opaque part, if that is not all of it."""
    picture = read_picture(path)
    box = None if picture.mask is None else mask_to_box(picture.mask)
    if box is None:
        H, W = picture.image.shape[:2]
        box = np.array([0, 0, W, H], np.float32)
    return ObjectView(picture.image, box, picture.mask)


def _view_in_box(path: Path, box_xywh: Sequence[float], option: str) -> ObjectView:
    """What a picture shows in a box of it: the opaque part there, if that is not all of it."""
    picture = read_picture(path)
    box = _box_inside(option, box_xywh, picture.file_size_hw, str(path))
    box = picture.from_file_pixels(box)
    if picture.mask is None:
        return ObjectView(picture.image, box)
    x1, y1, x2, y2 = (int(v) for v in (*np.floor(box[:2]), *np.ceil(box[2:])))
    mask = np.zeros_like(picture.mask)
    mask[y1:y2, x1:x2] = picture.mask[y1:y2, x1:x2]
    opaque = mask_to_box(mask)
    if opaque is None:
        raise ConfigError(
            f"{option} shows only what is transparent in {path}; give the box of something "
            "opaque, or none for all of that"
        )
    return ObjectView(picture.image, opaque, mask)


def _box_inside(
    option: str, box_xywh: Sequence[float], size_hw: tuple[int, int], what: str
) -> Boxes:
    """The part of a box (x, y, width, height) that lies in a picture, as (4,) xyxy."""
    if len(box_xywh) != 4 or not all(math.isfinite(v) for v in box_xywh):
        raise ConfigError(f"{option} needs four numbers X,Y,W,H in pixels, got {list(box_xywh)}")
    x, y, width, height = box_xywh
    if width <= 0 or height <= 0:
        raise ConfigError(f"{option} needs a positive width and height, got {width:g} x {height:g}")
    H, W = size_hw
    edges = zip((x, y, x + width, y + height), (W, H, W, H), strict=True)
    box = np.array([min(max(edge, 0), limit) for edge, limit in edges], np.float32)
    if not (box[2:] > box[:2]).all():
        raise ConfigError(
            f"{option} {x:g},{y:g},{width:g},{height:g} lies outside {what}, which is "
            f"{W} pixels wide and {H} high"
        )
    return box
