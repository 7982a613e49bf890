"""What the client is told when something is wrong: one sentence, no path of this machine."""

from __future__ import annotations

import errno
import logging
import re
from collections.abc import Mapping

from fastapi import HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException as StarletteHTTPException

from ren_core.errors import ConfigError, DataError, ShapeError

logger = logging.getLogger(__name__)

UNEXPECTED = "something unexpected went wrong; what it was stands in the log of `vq2d serve`"


class FullError(Exception):
    """As many wait in line as there may."""


class CancelledError(Exception):
    """Nobody wants the result any more."""


class ClosedError(Exception):
    """The page is served no more."""


def sentence(err: Exception) -> str:
    """What a person may read of an error; an unexpected one goes to the log with its traceback."""
    if isinstance(err, (ConfigError, DataError, ShapeError)):
        logger.warning("%s", err)
        return without_folders(str(err))
    if isinstance(err, OSError) and err.errno == errno.ENOSPC:
        logger.warning("%s", err)
        return "the disk of the memory is full; make room and try again"
    logger.error("unexpected", exc_info=err)
    return UNEXPECTED


def without_folders(text: str) -> str:
    """The text with only the last part of each absolute path.

    >>> without_folders("/home/me/a.mp4 has changed (No such file: '/home/me/a.mp4')")
    "a.mp4 has changed (No such file: 'a.mp4')"
    """
    return re.sub(r"(?<![^\s'\"(])(?:/[^/\s]+)*/(?=[^/\s])", "", text)


def refusal(status: int, message: str, headers: Mapping[str, str] | None = None) -> HTTPException:
    """What is raised when a request cannot be met."""
    return HTTPException(status, message, dict(headers or {}))


def reply(status: int, message: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """A refusal as the client gets it."""
    return JSONResponse({"error": message}, status, dict(headers or {}))


async def on_refusal(_: Request, err: Exception) -> Response:
    """For every ``HTTPException``."""
    assert isinstance(err, StarletteHTTPException)
    return reply(err.status_code, str(err.detail), err.headers)


async def on_known(_: Request, err: Exception) -> Response:
    """For the errors that users meet."""
    return reply(400, sentence(err))


async def on_malformed(_: Request, err: Exception) -> Response:
    """For parameters that a route does not take."""
    assert isinstance(err, RequestValidationError)
    first = err.errors()[0]
    return reply(422, f"{first['loc'][-1]}: {first['msg']}")
