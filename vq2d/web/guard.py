"""What stands before every route: who may ask, how much may be sent, what a browser may load."""

from __future__ import annotations

import logging
from urllib.parse import parse_qs

from fastapi.responses import RedirectResponse
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vq2d.web.access import Access
from vq2d.web.errors import UNEXPECTED, reply

logger = logging.getLogger(__name__)

MOST_BYTES = 64 << 20
"""Of one request's body."""
MOST_VIDEO_BYTES = 8 << 30
"""Of the body of a request to ``UPLOADS``."""
UPLOADS = "/api/uploads"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "media-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}


class TooLargeError(Exception):
    """A body is larger than it may be."""


class Guard:
    """ASGI middleware; the outermost one, so that nothing gets by it."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self.app = app
        self.access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it with a refusal."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        answer = self._refused(scope)
        if answer is not None:
            return await answer(scope, receive, _with_headers(send))
        return await self._passed_on(scope, receive, _with_headers(send))

    def _refused(self, scope: Scope) -> ASGIApp | None:
        """The answer to a request that is not passed on."""
        headers, is_page = Headers(scope=scope), scope["path"] == "/"
        wrong = self.access.why_not(headers, is_page=is_page)
        if wrong is not None:
            return reply(*wrong)
        if _length(headers) > _most_bytes(scope):
            return _too_large(scope)
        if self.access.fits(self.access.shown(headers)):
            return None
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        if is_page and self.access.fits(given):
            return self._opened(given)
        return reply(401, "the token is missing or wrong; open the address `vq2d serve` printed")

    def _opened(self, token: str) -> ASGIApp:
        """The way to the page without the token in its address."""
        answer = RedirectResponse("/", 303)
        answer.set_cookie(self.access.cookie, token, httponly=True, samesite="lax")
        return answer

    async def _passed_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = False

        async def watched(message: Message) -> None:
            nonlocal began
            began = True
            await send(message)

        try:
            await self.app(scope, _counted(receive, _most_bytes(scope)), watched)
        except TooLargeError:
            if not began:
                await _too_large(scope)(scope, receive, send)
        except Exception:
            logger.exception("%s %s", scope["method"], scope["path"])
            if not began:
                await reply(500, UNEXPECTED)(scope, receive, send)


def _length(headers: Headers) -> int:
    text = headers.get("content-length", "0")
    return int(text) if text.isdigit() else 0


def _most_bytes(scope: Scope) -> int:
    return MOST_VIDEO_BYTES if scope["path"] == UPLOADS else MOST_BYTES


def _too_large(scope: Scope) -> ASGIApp:
    most = _most_bytes(scope)
    return reply(413, f"at most {most >> 20} MiB can be sent at once, and this is more")


def _counted(receive: Receive, most: int) -> Receive:
    """The same body, which breaks off where it becomes too large."""
    count = 0

    async def counted() -> Message:
        nonlocal count
        message = await receive()
        count += len(message.get("body", b""))
        if count > most:
            raise TooLargeError
        return message

    return counted


def _with_headers(send: Send) -> Send:
    """The same answer with the headers that every answer has."""

    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers[name] = value
            headers.setdefault("cache-control", "no-store")
        await send(message)

    return sent
