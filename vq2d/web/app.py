"""The page and its routes as one application."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from anyio.to_thread import current_default_thread_limiter
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from ren_core.errors import ConfigError, DataError, ShapeError
from vq2d.memory.memory import Memory
from vq2d.web.access import Access
from vq2d.web.addition_routes import Shelf, addition_routes
from vq2d.web.desk import Desk
from vq2d.web.errors import on_known, on_malformed, on_refusal
from vq2d.web.guard import Guard
from vq2d.web.json_types import RefusalJson
from vq2d.web.question_routes import answer_routes, question_routes
from vq2d.web.reels import Reels
from vq2d.web.uploads import Uploads
from vq2d.web.video_routes import video_routes

STATIC = Path(__file__).parent / "static"
MOST_THREADS = 8
"""At work with requests; each may hold decoded frames, and memory of its own that it gave back."""


def build_app(memory: Memory, access: Access, videos: Sequence[Path] = ()) -> FastAPI:
    """The application of one memory; its worker runs while it is served.

    Args:
        memory: Used by the worker's thread only from now on, but for its catalogue.
        access: Who may use it.
        videos: Folders of which clients may have videos remembered.
    """
    desk, reels = Desk(memory), Reels(memory.store)
    shelf, uploads = Shelf(videos, memory.store), Uploads(memory.store)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        current_default_thread_limiter().total_tokens = MOST_THREADS
        for addition in uploads.open():
            desk.add(addition)
        desk.open()
        yield
        desk.close()
        uploads.close()
        reels.close()

    app = FastAPI(
        title="Where was it last seen?",
        version="1",
        lifespan=lifespan,
        openapi_url="/api/openapi.json",
        docs_url=None,  # FastAPI's own page loads from the internet
        redoc_url=None,
        responses={"4XX": {"model": RefusalJson, "description": "Refused"}},
    )
    for kind in (ConfigError, DataError, ShapeError):
        app.add_exception_handler(kind, on_known)
    app.add_exception_handler(HTTPException, on_refusal)
    app.add_exception_handler(RequestValidationError, on_malformed)
    for router in (
        video_routes(reels),
        question_routes(desk, reels),
        answer_routes(desk),
        addition_routes(desk, shelf, uploads),
    ):
        app.include_router(router)
    app.add_middleware(Guard, access=access)
    app.state.desk = desk

    @app.get("/", include_in_schema=False)
    def page() -> Response:
        return FileResponse(STATIC / "index.html")

    @app.get("/docs", include_in_schema=False)
    def docs() -> Response:
        return FileResponse(STATIC / "docs.html")

    app.mount("/static", StaticFiles(directory=STATIC))
    return app
