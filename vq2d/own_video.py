"""A question about one video of any rate and size, without an annotation file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from ren_core.errors import ConfigError, DataError
from ren_core.geometry import Boxes
from vq2d.localizer import Localization, Localizer, Question
from vq2d.query_picture import QueryPicture
from vq2d.report import picture_of
from vq2d.tokens import clip_tokens, open_tokens
from vq2d.types import Image, QueryKey, VisualQuery
from vq2d.video import VideoFrames

FPS = 5.0


@dataclass(frozen=True, slots=True)
class Asked:
    """A question, and the same as a query that can be drawn."""

    question: Question
    query: VisualQuery

    def view(self, frames: VideoFrames, found: Localization, title: str) -> QueryPicture:
        """What is drawn about the answer; a picture that is not from the video is shown itself."""
        view = picture_of(self.query, frames, found, metrics={}, title=title)
        is_own = self.question.crop_frame is not None
        return view if is_own else replace(view, query_image=self.question.picture)


def ask_by_moment(
    frames: VideoFrames, at_seconds: float, box_xywh: tuple[float, ...], until_seconds: float | None
) -> Asked:
    """The object in a box (x, y, width, height) of the video itself, at a time.

    Raises:
        ConfigError: If the time lies outside the video or the box has no area.
    """
    crop_frame = round(at_seconds * FPS)
    if not 0 <= crop_frame < len(frames):
        raise ConfigError(
            f"--at {at_seconds:g} lies outside the video, which lasts {len(frames) / FPS:.1f} s"
        )
    x, y, width, height = box_xywh
    if width <= 0 or height <= 0:
        raise ConfigError(f"--box needs a positive width and height, got {width:g} x {height:g}")
    box = np.array([x, y, x + width, y + height], np.float32)
    return _asked(frames, frames[crop_frame], box, crop_frame, until_seconds)


def ask_by_picture(frames: VideoFrames, picture: Path, until_seconds: float | None) -> Asked:
    """The object that fills a picture.

    Raises:
        DataError: If the picture cannot be read.
    """
    pixels = cv2.imread(str(picture), cv2.IMREAD_COLOR)
    if pixels is None:
        raise DataError(f"{picture} is no readable image; give a JPEG or PNG of the object")
    image = np.ascontiguousarray(pixels[..., ::-1])
    box = np.array([0, 0, image.shape[1], image.shape[0]], np.float32)
    return _asked(frames, image, box, None, until_seconds)


def localize_in(
    frames: VideoFrames,
    question: Question,
    localizer: Localizer,
    *,
    cache: Path,
    on_frames: Callable[[int], object],
) -> Localization:
    """Tokens of the video (kept in ``cache``), then the five stages."""
    config = localizer.config
    tokens_dir = open_tokens(cache, localizer.matcher, config.tokens)
    chunks = clip_tokens(
        frames,
        localizer.matcher,
        config.tokens,
        directory=tokens_dir / frames.fingerprint,
        num_frames=question.search_end,
        on_frames=on_frames,
    )
    return localizer.localize(question, frames, chunks)


def _asked(
    frames: VideoFrames,
    picture: Image,
    box: Boxes,
    crop_frame: int | None,
    until_seconds: float | None,
) -> Asked:
    end = len(frames) if until_seconds is None else min(len(frames), round(until_seconds * FPS))
    if end < 1:
        raise ConfigError(f"--until {until_seconds} leaves no frame to search")
    query = VisualQuery(
        key=QueryKey(0, 0, 0, "1"),
        query_frame=end,
        crop_frame=end if crop_frame is None else crop_frame,
        crop_box_xyxy=box,
        original_size_hw=frames.size_hw,
    )
    return Asked(Question(picture, box, end, crop_frame), query)
