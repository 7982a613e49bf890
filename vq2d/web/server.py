"""Serve the page until Ctrl-C."""

from __future__ import annotations

import socket
import webbrowser
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import uvicorn

from ren_core.errors import ConfigError
from vq2d.memory.memory import Memory
from vq2d.web.access import Access
from vq2d.web.app import build_app
from vq2d.web.desk import Desk

CLOSE_SECONDS = 2
MOST_PORT = 65535


def serve(
    memory: Memory,
    host: str,
    port: int,
    *,
    videos: Sequence[Path] = (),
    is_opened: bool = False,
) -> None:
    """Serve the page of a memory, and say where.

    Args:
        memory: What is asked.
        host: Address or name to listen on; a token is needed unless it is a loopback one.
        port: 0: any that is free.
        videos: Folders of which clients may have videos remembered.
        is_opened: Open the page in this machine's browser.

    Raises:
        ConfigError: If nothing can listen there.
    """
    with listening(host, port) as listener:
        access = Access.at(host, listener.getsockname()[1])
        print(f"page        {access.url}  (Ctrl-C ends it)", flush=True)
        if access.token is not None:
            print("            from another machine: the same with this machine's own address")
        if is_opened:
            webbrowser.open(access.url)
        with suppress(KeyboardInterrupt):  # raised again once the server has ended
            build_server(memory, access, videos).run(sockets=[listener])


class PageServer(uvicorn.Server):
    """Ends the streams of events before it waits for open connections."""

    def __init__(self, config: uvicorn.Config, desk: Desk) -> None:
        super().__init__(config)
        self._desk = desk

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """See uvicorn."""
        self._desk.cancel_all()
        await super().shutdown(sockets)


def build_server(memory: Memory, access: Access, videos: Sequence[Path] = ()) -> uvicorn.Server:
    """The server of a memory's page, to be run on a socket that listens."""
    app = build_app(memory, access, videos)
    config = uvicorn.Config(
        app,
        log_level="warning",
        server_header=False,
        proxy_headers=False,
        ws="none",
        timeout_graceful_shutdown=CLOSE_SECONDS,
    )
    return PageServer(config, app.state.desk)


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens already, so that a port that is taken is known before all else.

    Raises:
        ConfigError: If it cannot.
    """
    if not 0 <= port <= MOST_PORT:
        raise ConfigError(f"--port must be from 0 to {MOST_PORT}, got {port}")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as err:
        raise ConfigError(
            f"nothing can listen on {host} port {port} ({err}); choose others with --host and "
            "--port"
        ) from err
