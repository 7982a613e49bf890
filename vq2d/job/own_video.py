"""A question about one video of any rate and size, without an annotation file."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ren_core.errors import ConfigError
from ren_core.geometry import Boxes, mask_to_box
from vq2d.localize.localizer import Localizer
from vq2d.localize.presets import VQ2DConfig
from vq2d.localize.tokens import clip_tokens, open_tokens
from vq2d.types import (
    Localization,
    ObjectView,
    QueryKey,
    Question,
    ResponseTrack,
    VisualQuery,
)
from vq2d.video.frames import VideoFrames
from vq2d.video.pictures import read_picture

FPS = 5.0


@dataclass(frozen=True, slots=True)
class Asked:
    """A question about a video, and the same as a query, which has a form that can be drawn."""

    question: Question
    query: VisualQuery


def ask_by_moment(
    frames: VideoFrames,
    at_seconds: float,
    box_xywh: Sequence[float],
    until_seconds: float | None,
) -> Asked:
    """The object in a box (x, y, width, height) of the video itself, at a time.

    The nearest frame is taken: the last one for any time after it that the video still plays.

    Raises:
        ConfigError: If the time lies outside the video, or the box is not four finite numbers with
            an area that touches the frame.
    """
    lasts = math.ceil(100 * frames.duration - 1e-6) / 100  # as printed
    if not 0 <= at_seconds <= lasts:
        raise ConfigError(f"--at {at_seconds:g} lies outside the video, which lasts {lasts:.10g} s")
    crop_frame = min(round(at_seconds * FPS), len(frames) - 1)
    box = _box_inside("--box", box_xywh, frames.size_hw, "the video's picture")
    view = ObjectView(frames[crop_frame], box)
    return _asked(frames, (view,), crop_frame, until_seconds)


def ask_by_pictures(
    frames: VideoFrames,
    pictures: Sequence[Path],
    until_seconds: float | None,
    *,
    box_xywh: Sequence[float] | None = None,
) -> Asked:
    """The object that fills some pictures, or the opaque part of each, or a box of the only one.

    Args:
        frames: The video.
        pictures: At least one file; exactly one with ``box_xywh``.
        until_seconds: Search up to here; None: all of the video.
        box_xywh: (x, y, width, height) in pixels of the upright picture of the file.

    Raises:
        ConfigError: If there is a box and not one picture, or the box is not four finite numbers
            with an area that shows something of the picture.
        DataError: If a picture cannot be read.
    """
    if box_xywh is None:
        views = tuple(_view_of(path) for path in pictures)
    elif len(pictures) == 1:
        views = (_view_in_box(pictures[0], box_xywh),)
    else:
        raise ConfigError(f"--query-box belongs to exactly one picture, got {len(pictures)}")
    return _asked(frames, views, None, until_seconds)


def localize_in(
    frames: VideoFrames,
    question: Question,
    localizer: Localizer,
    *,
    cache: Path,
    on_frames: Callable[[int], object],
    keep_tokens_of: str | None = None,
) -> Localization:
    """Tokens of the video (kept in ``cache``), then the five stages."""
    config = localizer.config
    encoder = localizer.models.encoder
    tokens_dir = open_tokens(cache, encoder, config.tokens, keep=keep_tokens_of)
    chunks = clip_tokens(
        frames,
        encoder,
        config.tokens,
        directory=tokens_dir / frames.fingerprint,
        num_frames=question.search_end,
        on_frames=on_frames,
    )
    return localizer.localize(question, frames, chunks)


def missed_floor(track: ResponseTrack, config: VQ2DConfig) -> float | None:
    """The least score of a believable answer, if the track's is below; None if it is not.

    The floors of search and refinement are lowered for the best candidate, so that there is an
    answer to every query; whoever asks for one object wants to know.
    """
    floor = config.refine.floor if config.refine.crop_factors else config.search.floor
    return floor if track.score < floor else None


def _view_of(path: Path) -> ObjectView:
    """What a picture shows: its opaque part, if that is not all of it."""
    picture = read_picture(path)
    box = None if picture.mask is None else mask_to_box(picture.mask)
    if box is None:
        H, W = picture.image.shape[:2]
        box = np.array([0, 0, W, H], np.float32)
    return ObjectView(picture.image, box, picture.mask)


def _view_in_box(path: Path, box_xywh: Sequence[float]) -> ObjectView:
    """What a picture shows in a box of it: the opaque part there, if that is not all of it."""
    picture = read_picture(path)
    box = _box_inside("--query-box", box_xywh, picture.file_size_hw, str(path))
    box = picture.from_file_pixels(box)
    if picture.mask is None:
        return ObjectView(picture.image, box)
    x1, y1, x2, y2 = (int(v) for v in (*np.floor(box[:2]), *np.ceil(box[2:])))
    mask = np.zeros_like(picture.mask)
    mask[y1:y2, x1:x2] = picture.mask[y1:y2, x1:x2]
    opaque = mask_to_box(mask)
    if opaque is None:
        raise ConfigError(
            f"--query-box shows only what is transparent in {path}; give the box of something "
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


def _asked(
    frames: VideoFrames,
    views: tuple[ObjectView, ...],
    crop_frame: int | None,
    until_seconds: float | None,
) -> Asked:
    until = math.inf if until_seconds is None else until_seconds * FPS
    if not until > 0.5:  # also false for NaN
        raise ConfigError(f"--until {until_seconds} leaves no frame to search")
    end = round(min(until, len(frames)))
    query = VisualQuery(
        key=QueryKey(0, 0, 0, "1"),
        query_frame=end,
        crop_frame=end if crop_frame is None else crop_frame,
        crop_box_xyxy=views[0].box_xyxy,
        original_size_hw=frames.size_hw,
    )
    return Asked(Question(views, end, crop_frame), query)
