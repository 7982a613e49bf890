"""Routes of questions and answers: put one, follow it, take it back, read what was answered."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from functools import lru_cache
from typing import Any

import anyio
from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile

from vq2d.memory.ask import MemoryQuestion
from vq2d.memory.catalogue import KnownAnswer
from vq2d.web.answers import answer_json, summary_json
from vq2d.web.asked import Asked
from vq2d.web.desk import Desk
from vq2d.web.errors import FullError, refusal
from vq2d.web.json_types import AnswerJson, CancelledJson, IdJson, SummaryJson
from vq2d.web.questions import (
    MOST_PICTURES,
    BoxQuestion,
    parsed,
    parsed_boxes,
    question_in_video,
    question_of_pictures,
)
from vq2d.web.reels import Reels
from vq2d.web.video_routes import FOR_A_WHILE, Jpeg, known

MOST_LISTED = 40
MOST_JSON_BYTES = 10_000
RETRY_SECONDS = 10
LOOK_SECONDS = 0.1
ALIVE_SECONDS = 15.0
"""A line without meaning is sent after so long, so that nobody takes the connection for dead."""


BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": BoxQuestion.model_json_schema()},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["pictures"],
                    "properties": {
                        "pictures": {
                            "type": "array",
                            "items": {"type": "string", "format": "binary"},
                            "minItems": 1,
                            "maxItems": MOST_PICTURES,
                        },
                        "boxes": {
                            "type": "string",
                            "description": "a JSON list with one entry per picture: null, or x1, "
                            "y1, x2, y2 in pixels of the upright picture",
                        },
                    },
                }
            },
        },
    }
}


class EventStream(StreamingResponse):
    """Server-sent events."""

    media_type = "text/event-stream"


def question_routes(desk: Desk, reels: Reels) -> APIRouter:
    """The routes below ``/api/questions``."""
    router = APIRouter(prefix="/api/questions")

    @router.post("", status_code=202, response_model=IdJson, openapi_extra=BODY)
    async def put(request: Request) -> Response:
        """Ask where a thing was last seen, by a box in a frame of a video or by pictures of it."""
        try:
            desk.check_room()
            asked = desk.put(await _question(request, reels))
        except FullError as err:
            wait = {"retry-after": str(RETRY_SECONDS)}
            message = "several questions are waiting already; ask again when one is answered"
            raise refusal(429, message, wait) from err
        return JSONResponse({"id": asked.id}, 202)

    @router.get("/{name}/events", response_class=EventStream)
    def events(name: str, request: Request) -> Response:
        """What happens to a question, as server-sent events, from the first one on.

        queued, searching, moment (a frame and a box), sighting (a track) ..., and in the end done,
        failed or cancelled.
        """
        asked = _asked(desk, name)
        last = request.headers.get("last-event-id", "")
        seen = int(last) + 1 if last.isascii() and last.isdigit() else 0
        return EventStream(_stream(asked, seen))

    @router.delete("/{name}")
    def cancel(name: str) -> CancelledJson:
        """Take a question back."""
        asked = _asked(desk, name)
        was_over = asked.is_over
        desk.cancel(asked)
        return {"cancelled": not was_over}

    return router


def answer_routes(desk: Desk) -> APIRouter:
    """The routes below ``/api/answers``."""
    router, store = APIRouter(prefix="/api/answers"), desk.memory.store

    @lru_cache(maxsize=4 * MOST_LISTED)  # an answer never changes
    def summary(answer: KnownAnswer) -> SummaryJson:
        return summary_json(store, answer)

    @router.get("")
    def answers() -> list[SummaryJson]:
        """What was asked, the latest first; of a question asked several times, its last answer."""
        latest: dict[str, SummaryJson] = {}
        for answer in store.catalogue.answers():
            if len(latest) == MOST_LISTED:
                break
            found = summary(answer)
            latest.setdefault(found["question"], found)
        return list(latest.values())

    @router.get("/{name}")
    def one(name: str) -> AnswerJson:
        """An answer, by its id or by that of its question."""
        return answer_json(store, _kept(desk, name))

    @router.get("/{name}/picture.jpg", response_class=Jpeg)
    def picture(name: str) -> Response:
        """What was shown, as a small picture."""
        path = store.answers / f"{_kept(desk, name).name}.jpg"
        if not path.is_file():
            raise refusal(404, "no picture of this question was kept")
        return FileResponse(path, media_type="image/jpeg", headers=FOR_A_WHILE)

    return router


async def _question(request: Request, reels: Reels) -> MemoryQuestion:
    """What a request asks, by its kind of content."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json":
        body = parsed(await _json(request))
        video = known(reels, body.video)
        return await run_in_threadpool(question_in_video, reels, video, body)
    if kind == "multipart/form-data":
        async with request.form(max_files=MOST_PICTURES, max_fields=1) as form:
            files = [part for _, part in form.multi_items() if isinstance(part, UploadFile)]
            boxes = parsed_boxes(form.get("boxes"), len(files))
            return await run_in_threadpool(question_of_pictures, files, boxes)
    raise refusal(
        415, "a question is JSON (video, frame, box_xyxy) or multipart/form-data with pictures"
    )


async def _json(request: Request) -> Any:  # noqa: ANN401 - whatever JSON holds
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MOST_JSON_BYTES:
            raise refusal(413, f"a question in JSON has at most {MOST_JSON_BYTES} bytes")
    try:
        return json.loads(body)
    except ValueError as err:
        raise refusal(422, "the question is no JSON") from err


async def _stream(asked: Asked, seen: int) -> AsyncIterator[str]:
    """Events as they happen, from a number on, until the question is over."""
    silent = 0.0
    while True:
        for number, event in enumerate(asked.events[seen:], seen):
            yield f"id: {number}\nevent: {event.kind}\ndata: {json.dumps(event.data)}\n\n"
            seen, silent = number + 1, 0.0
        if asked.is_over and seen >= len(asked.events):
            return
        await anyio.sleep(LOOK_SECONDS)
        silent += LOOK_SECONDS
        if silent > ALIVE_SECONDS:
            yield ": still there\n\n"
            silent = 0.0


def _asked(desk: Desk, name: str) -> Asked:
    asked = desk.find(name)
    if asked is None:
        raise refusal(404, "there is no such question; ask it again")
    return asked


def _kept(desk: Desk, name: str) -> KnownAnswer:
    """The answer of this name, or to the question of this id."""
    asked = desk.find(name)
    wanted = name if asked is None else asked.answer
    if asked is not None and wanted is None:
        raise refusal(404, "this question has no answer yet; its events say when it has")
    if wanted is not None and re.fullmatch(r"[0-9a-f]{8,64}", wanted):
        for answer in desk.memory.store.catalogue.answers():
            if answer.name == wanted:
                return answer
    raise refusal(404, "there is no such answer; it may have been removed with its video")
