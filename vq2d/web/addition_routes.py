"""Routes to add videos: from folders that the operator allows, or sent by the browser."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import ClientDisconnect

from ren_core.stages import digest
from vq2d.memory.store import Store
from vq2d.video.files import videos_in
from vq2d.web.additions import Addition
from vq2d.web.desk import Desk
from vq2d.web.errors import FullError, refusal, without_folders
from vq2d.web.json_types import AdditionJson, CancelledJson, FileJson, IdJson
from vq2d.web.uploads import Uploads

MOST_FILES = 500
RETRY_SECONDS = 3
YEAR_2100_MS = 4_102_444_800_000


BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


class ChosenFile(BaseModel):
    """A file that shall be remembered, by its id in the list of files."""

    model_config = ConfigDict(extra="forbid")

    file: str = Field(max_length=64)


class Shelf:
    """The videos in the folders that the operator allows; clients know them by id only."""

    def __init__(self, folders: Sequence[Path], store: Store) -> None:
        self.folders = [folder.expanduser().absolute() for folder in folders]
        self.store = store

    def files(self) -> dict[str, Path]:
        """The first so many, by id."""
        found = [path for folder in self.folders for path in videos_in(folder, self.store.folder)]
        return {digest(str(path)): path for path in found[:MOST_FILES]}

    def shown(self) -> list[FileJson]:
        """What is shown of each."""
        known = {video.path for video in self.store.videos()}
        failures = self.store.catalogue.failures()
        return [
            {
                "id": name,
                "name": path.name,
                "folder": path.parent.name,
                "bytes": path.stat().st_size,
                "is_known": path in known,
                "error": without_folders(failures[path]) if path in failures else None,
            }
            for name, path in self.files().items()
            if path.is_file()
        ]


def addition_routes(desk: Desk, shelf: Shelf, uploads: Uploads) -> APIRouter:
    """The routes below ``/api/files``, ``/api/uploads`` and ``/api/additions``."""
    router = APIRouter(prefix="/api")

    @router.get("/files")
    def files() -> list[FileJson]:
        """Videos in the folders that the operator allows."""
        return shelf.shown()

    @router.get("/additions")
    def additions() -> list[AdditionJson]:
        """Videos on their way into the memory, and those that have got there or failed."""
        return [addition_json(addition) for addition in desk.additions]

    @router.post("/additions", status_code=202)
    def add(chosen: ChosenFile) -> IdJson:
        """Remember a video of the list."""
        path = shelf.files().get(chosen.file)
        if path is None:
            raise refusal(
                404, "there is no such file in the folders of --videos; read the list anew"
            )
        return _put(desk, Addition(path))

    @router.post("/uploads", status_code=202, openapi_extra=BODY)
    async def upload(
        request: Request,
        name: Annotated[str, Query(max_length=1000)],
        modified_ms: Annotated[int | None, Query(ge=0, le=YEAR_2100_MS)] = None,
    ) -> IdJson:
        """Send a video, as the body, and remember it; it is kept in the memory's folder."""
        said = request.headers.get("content-length", "")
        size = int(said) if said.isascii() and said.isdigit() else 0
        changed_s = None if modified_ms is None else modified_ms / 1000
        try:
            desk.check_video_room()
            addition = await uploads.receive(request.stream(), name, size, changed_s)
        except FullError as err:
            message = "another video is being sent, or many wait already; send this one later"
            raise refusal(429, message, {"retry-after": str(RETRY_SECONDS)}) from err
        except ClientDisconnect as err:
            raise refusal(400, "the video broke off; send it again") from err
        return _put(desk, addition)

    @router.delete("/additions/{name}")
    def dismiss(name: str) -> CancelledJson:
        """Take a video out of the line, break it off, or show it no more."""
        is_over = desk.dismiss(name)
        if is_over is None:
            raise refusal(404, "there is no such video on its way; it may be in the memory already")
        return {"cancelled": not is_over}

    return router


def addition_json(addition: Addition) -> AdditionJson:
    """How far a video is."""
    is_stopping = addition.state == "working" and addition.is_cancelled.is_set()
    return {
        "id": addition.id,
        "name": addition.path.name,
        "state": "cancelling" if is_stopping else addition.state,
        "num_frames": addition.num_frames,
        "frames_done": addition.frames_done,
        "seconds_left": addition.seconds_left,
        "error": addition.error,
        "video": addition.fingerprint if addition.state == "done" else None,
    }


def _put(desk: Desk, addition: Addition) -> IdJson:
    try:
        desk.add(addition)
    except FullError as err:
        addition.leave_nothing()
        message = "many videos are waiting already; add this one when some are remembered"
        raise refusal(429, message, {"retry-after": "60"}) from err
    return {"id": addition.id}
