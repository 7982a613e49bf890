"""Routes of the videos: what there is, stills from our own reader, files that browsers play."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, TypeVar

from fastapi import APIRouter, Query
from fastapi.responses import FileResponse, Response

from ren_core.errors import DataError
from vq2d.memory.catalogue import RememberedVideo
from vq2d.web.answers import video_json
from vq2d.web.errors import refusal, sentence
from vq2d.web.json_types import PlayableVideoJson, VideoJson
from vq2d.web.reels import Reels, jpeg

FOR_A_WHILE = {"cache-control": "private, max-age=600"}
RETRY_SECONDS = 2

T = TypeVar("T")


class Jpeg(Response):
    """A picture."""

    media_type = "image/jpeg"


def video_routes(reels: Reels) -> APIRouter:
    """The routes below ``/api/videos``."""
    router = APIRouter(prefix="/api/videos")

    @router.get("")
    def videos() -> list[VideoJson]:
        """The videos of the memory, the latest recording first."""
        return [video_json(video) for video in reels.store.videos()]

    @router.get("/{name}")
    def one(name: str) -> PlayableVideoJson:
        """A video, and whether a browser can play it; if it needs a copy, one is begun."""
        video = known(reels, name)
        try:
            playable = reels.playable(video)
        except DataError as err:
            return {
                **video_json(video),
                "file": "missing",
                "seconds_into_frame": None,
                "error": sentence(err),
            }
        return {
            **video_json(video),
            "file": playable.state,
            "seconds_into_frame": playable.seconds_into_frame,
            "error": None,
        }

    @router.get("/{name}/thumbnail.jpg", response_class=Jpeg)
    def thumbnail(name: str) -> Response:
        """A small picture of a video."""
        video = known(reels, name)
        return picture(_or_missing(lambda: reels.thumbnail(video)))

    @router.get("/{name}/still.jpg", response_class=Jpeg)
    def still(name: str, frame: Annotated[str, Query(max_length=12)]) -> Response:
        """A frame of a video, by its number at 5 per second."""
        video = known(reels, name)
        if not (frame.isascii() and frame.isdigit() and int(frame) < video.num_frames):
            raise refusal(
                404, f"there is no frame {frame}; they go from 0 to {video.num_frames - 1}"
            )
        return picture(jpeg(_or_missing(lambda: reels.still(video, int(frame)))))

    @router.get("/{name}/file", response_class=FileResponse)
    def file(name: str) -> Response:
        """What a browser plays of a video, whole or in part (Range)."""
        video = known(reels, name)
        playable = _or_missing(lambda: reels.playable(video))
        if playable.path is not None:
            return FileResponse(playable.path, media_type=playable.media_type, headers=FOR_A_WHILE)
        if playable.state == "failed":
            raise refusal(404, "no copy of this video for browsers could be made; use its stills")
        wait = {"retry-after": str(RETRY_SECONDS)}
        raise refusal(503, "a copy of this video for browsers is being made", wait)

    return router


def known(reels: Reels, name: str) -> RememberedVideo:
    """The video of an id.

    Raises:
        HTTPException: If the memory does not hold it.
    """
    video = reels.video(name)
    if video is None:
        raise refusal(404, "the memory holds no such video; it may have been removed")
    return video


def picture(data: bytes) -> Response:
    """A JPEG as an answer."""
    return Jpeg(data, headers=FOR_A_WHILE)


def _or_missing(read: Callable[[], T]) -> T:
    """What is read of a video; a refusal if its file is not there as it was."""
    try:
        return read()
    except DataError as err:
        raise refusal(404, sentence(err)) from err
