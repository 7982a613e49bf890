"""What the page and other clients are told, as JSON; the OpenAPI document is made from this."""

from __future__ import annotations

from typing import Literal

from typing_extensions import TypedDict

Box = list[float]
"""x1, y1, x2, y2 in pixels of the video as shown."""


class VideoJson(TypedDict):
    """A video of the memory; frames are counted at 5 per second."""

    id: str
    name: str
    recorded_at: str
    recorded_from: Literal["metadata", "file"]
    duration_s: float
    num_frames: int
    width: int
    height: int
    is_there: bool


class PlayableVideoJson(VideoJson):
    """A video, and whether a browser can play it; frame n is shown at n / 5 s and a little."""

    file: Literal["ready", "making", "failed", "missing"]
    seconds_into_frame: float | None
    error: str | None


class CurveJson(TypedDict):
    """How similar each searched frame is; ``own``: the frames of the question's own occurrence."""

    frames: list[int]
    similarity: list[float]
    own: list[int] | None


class SightingJson(TypedDict):
    """The thing in one video; one box per frame from the first one on."""

    video: VideoJson
    first_frame: int
    end_frame: int
    start_s: float
    end_s: float
    last_seen_at: str
    present: float | None
    believed: bool
    score: float
    boxes_xyxy: list[Box]
    curve: CurveJson


class AskedJson(TypedDict, total=False):
    """What a question showed: a box in a frame of a video, or so many pictures."""

    video: str
    name: str
    frame: int
    box_xyxy: Box
    pictures: int


class LastJson(TypedDict):
    """The last sighting at a glance."""

    name: str
    last_seen_at: str
    believed: bool
    score: float


class HeadJson(TypedDict):
    """What was asked, and when."""

    id: str
    question: str
    asked_at: str
    asked: AskedJson


class AnswerJson(HeadJson):
    """A kept answer; its sightings, the last one first."""

    sightings: list[SightingJson]


class SummaryJson(HeadJson):
    """A kept answer at a glance."""

    count: int
    last: LastJson | None


class FileJson(TypedDict):
    """A video file in a folder that the operator allows."""

    id: str
    name: str
    folder: str
    bytes: int
    is_known: bool
    error: str | None


class AdditionJson(TypedDict):
    """A video on its way into the memory."""

    id: str
    name: str
    state: Literal["waiting", "working", "cancelling", "done", "failed", "cancelled"]
    num_frames: int
    frames_done: int
    seconds_left: float | None
    error: str | None
    video: str | None


class IdJson(TypedDict):
    """The id of what was begun."""

    id: str


class CancelledJson(TypedDict):
    """Whether something was cancelled that was not over."""

    cancelled: bool


class RefusalJson(TypedDict):
    """Why a request was refused, in one sentence."""

    error: str
