"""From what a client sends to a question: a box in a frame of a video, or pictures."""

from __future__ import annotations

import math
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from starlette.datastructures import UploadFile

from ren_core.errors import ConfigError
from vq2d.localize.views import views_of_pictures
from vq2d.memory.ask import MemoryQuestion
from vq2d.memory.catalogue import RememberedVideo
from vq2d.types import ObjectView
from vq2d.web.errors import refusal
from vq2d.web.reels import Reels

MOST_PICTURES = 4
MOST_PICTURE_BYTES = 24 << 20
LEAST_SIDE = 2.0
"""Of a box, in pixels of the video."""

ABOUT_BOXES = "boxes are a JSON list with null or four numbers x1, y1, x2, y2 for each picture"
PictureBox = tuple[float, float, float, float] | None
PICTURE_BOXES = TypeAdapter(list[PictureBox])

_one_at_a_time = threading.Lock()


class BoxQuestion(BaseModel):
    """What a client asks about a moment of a video.

    Attributes:
        video: Its id.
        frame: At 5 per second.
        box_xyxy: Pixels of the video as shown.
    """

    model_config = ConfigDict(extra="forbid")

    video: str = Field(max_length=64)
    frame: int = Field(ge=0)
    box_xyxy: tuple[float, float, float, float]


def parsed(body: Any) -> BoxQuestion:  # noqa: ANN401 - whatever JSON holds
    """A question about a moment of a video.

    Raises:
        HTTPException: If it is none.
    """
    try:
        return BoxQuestion.model_validate(body)
    except ValidationError as err:
        first = err.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the question"
        raise refusal(
            422,
            f"{place}: {first['msg']}; a question needs video (an id), frame (a number at 5 per "
            "second) and box_xyxy (four numbers in pixels)",
        ) from err


def question_in_video(reels: Reels, video: RememberedVideo, asked: BoxQuestion) -> MemoryQuestion:
    """What a box shows in a frame.

    Raises:
        ConfigError: If the frame or the box lies outside the video.
        DataError: If the video's file is not there any more.
    """
    if asked.frame >= video.num_frames:
        raise ConfigError(
            f"frame {asked.frame} lies outside the video, which has {video.num_frames} frames"
        )
    box = _clipped(asked.box_xyxy, video.size_hw)
    view = ObjectView(reels.still(video, asked.frame), np.array(box, np.float32))
    return MemoryQuestion((view,), (video.fingerprint, asked.frame))


def parsed_boxes(text: object, count: int) -> list[PictureBox]:
    """Boxes in some pictures, or none, from JSON.

    Raises:
        HTTPException: If they are none, or not as many.
    """
    if text is None:
        return [None] * count
    try:
        boxes = PICTURE_BOXES.validate_json(str(text))
    except ValidationError as err:
        raise refusal(422, f"boxes: {err.errors()[0]['msg']}; {ABOUT_BOXES}") from err
    if len(boxes) != count:
        raise refusal(422, f"boxes: {len(boxes)} for {count} pictures; {ABOUT_BOXES}")
    return boxes


def question_of_pictures(
    pictures: Sequence[UploadFile], boxes: Sequence[PictureBox]
) -> MemoryQuestion:
    """What uploaded pictures show; they are read one upload at a time and not kept.

    Args:
        pictures: The files.
        boxes: One each: where the thing is, in pixels of the upright picture; None: all of it.

    Raises:
        ConfigError: If there are none or too many, one is too large, or a box lies outside.
        DataError: If one cannot be read.
    """
    if not 1 <= len(pictures) <= MOST_PICTURES:
        raise ConfigError(f"a question takes 1 to {MOST_PICTURES} pictures, got {len(pictures)}")
    with _one_at_a_time, tempfile.TemporaryDirectory(prefix="vq2d-") as folder:
        paths = [_saved(upload, Path(folder), i) for i, upload in enumerate(pictures, 1)]
        views = [
            view
            for path, box in zip(paths, boxes, strict=True)
            for view in views_of_pictures([path], _xywh(box), option="the box")
        ]
    return MemoryQuestion(tuple(views))


def _xywh(box: PictureBox) -> list[float] | None:
    if box is None:
        return None
    x1, y1, x2, y2 = box
    return [x1, y1, x2 - x1, y2 - y1]


def _saved(upload: UploadFile, folder: Path, number: int) -> Path:
    """An upload as a file with a name of ours, which says which one it is in messages."""
    data = upload.file.read(MOST_PICTURE_BYTES + 1)
    if len(data) > MOST_PICTURE_BYTES:
        raise ConfigError(
            f"picture {number} is larger than {MOST_PICTURE_BYTES >> 20} MiB; shrink it first"
        )
    path = folder / f"picture-{number}"
    path.write_bytes(data)
    return path


def _clipped(
    box_xyxy: tuple[float, float, float, float], size_hw: tuple[int, int]
) -> tuple[float, float, float, float]:
    """The part of a box that lies in the picture."""
    H, W = size_hw
    if not all(math.isfinite(v) for v in box_xyxy):
        raise ConfigError("a box needs four finite numbers x1, y1, x2, y2 in pixels")
    x1, y1, x2, y2 = box_xyxy
    x1, x2 = (min(max(v, 0.0), float(W)) for v in (x1, x2))
    y1, y2 = (min(max(v, 0.0), float(H)) for v in (y1, y2))
    if x2 - x1 < LEAST_SIDE or y2 - y1 < LEAST_SIDE:
        raise ConfigError(
            f"the box is too small or lies outside the picture, which is {W} pixels wide and {H} "
            f"high; it needs at least {LEAST_SIDE:g} pixels each way"
        )
    return x1, y1, x2, y2
