"""Who may use the page: requests of this page only, and off this machine only with the token."""

from __future__ import annotations

import ipaddress
import re
import secrets
from dataclasses import dataclass, field

from starlette.datastructures import Headers
from starlette.requests import cookie_parser

TOKEN_BYTES = 24
EVERYWHERE = ("", "0.0.0.0", "::")


@dataclass(frozen=True, slots=True)
class Access:
    """Where the page is served, and what opens it.

    Attributes:
        host: The name or address that the server listens on.
        port: Its port.
        token: What a client must show; None: nothing, on a loopback address.
    """

    host: str
    port: int
    token: str | None = field(default=None, repr=False)

    @classmethod
    def at(cls, host: str, port: int) -> Access:
        """Access with a token of its own unless only this machine can reach the host."""
        token = None if is_loopback(host) else secrets.token_urlsafe(TOKEN_BYTES)
        return cls(host, port, token)

    @property
    def cookie(self) -> str:
        """Name of the cookie that holds the token; cookies do not know of ports."""
        return f"vq2d-{self.port}"

    @property
    def url(self) -> str:
        """What a person opens."""
        host = "127.0.0.1" if self.host in EVERYWHERE else self.host
        host = f"[{host}]" if ":" in host else host
        query = "" if self.token is None else f"?token={self.token}"
        return f"http://{host}:{self.port}/{query}"

    def fits(self, token: str | None) -> bool:
        """Whether a token opens the page."""
        if self.token is None:
            return True
        return token is not None and secrets.compare_digest(token.encode(), self.token.encode())

    def why_not(self, headers: Headers, *, is_page: bool) -> tuple[int, str] | None:
        """Status and reason if a request is refused.

        Args:
            headers: Of the request.
            is_page: Whether the page itself is asked for, to which others may link.
        """
        if not self._is_own_host(headers.get("host", "")):
            return 421, "this address is not the page's own; open the one that `vq2d serve` printed"
        if not _is_same_origin(headers) and not (is_page and _is_navigation(headers)):
            return 403, "another site's page may not use this one; open it by its own address"
        return None

    def shown(self, headers: Headers) -> str | None:
        """The token that a request brings in its cookie or its Authorization header."""
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return bearer.strip()
        return cookie_parser(headers.get("cookie", "")).get(self.cookie)

    def _is_own_host(self, header: str) -> bool:
        """Whether a Host header cannot be a name that another site has pointed at this machine."""
        parts = re.fullmatch(r"(\[[0-9a-f:.]+\]|[^][:/@\s]+)(:\d+)?", header.lower())
        name = "" if parts is None else parts[1].strip("[]")
        if self.token is None:
            return is_loopback(name)
        return is_loopback(name) or name == self.host.lower() or _is_address(name)


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine's own.

    >>> is_loopback("127.0.0.1"), is_loopback("0.0.0.0"), is_loopback("evil.example")
    (True, False, False)
    """
    return host == "localhost" or (_is_address(host) and ipaddress.ip_address(host).is_loopback)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_same_origin(headers: Headers) -> bool:
    """Whether a request comes from the page itself, or from no page at all."""
    origin = headers.get("origin")
    if origin is not None and origin != f"http://{headers.get('host', '')}":
        return False
    return headers.get("sec-fetch-site", "none") in ("same-origin", "none")


def _is_navigation(headers: Headers) -> bool:
    return "origin" not in headers and headers.get("sec-fetch-mode") == "navigate"
