"""Open a page in the browser on which a memory is asked: a box in a video, or pictures."""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Sequence

from ren_core.errors import ConfigError
from vq2d.commands.parsers import COMMANDS
from vq2d.commands.shared import forget_old, opened_memory, run_command
from vq2d.memory.store import Store

NEEDED = ("fastapi", "uvicorn", "python_multipart")


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until Ctrl-C; 0 ended, 1 failed, 2 usage."""
    args = COMMANDS["serve"].parser("vq2d serve").parse_args(argv)
    return run_command("serve", argv, args, run)


def run(args: argparse.Namespace, command: str) -> int:
    """Do what the command line asks; the exit code."""
    del command
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"the page needs {', '.join(missing)}, which is not installed; "
            'pip install "ren-vq2d[page]"'
        )
    from vq2d.web.server import serve  # optional

    for folder in args.videos:
        if not folder.is_dir():
            raise ConfigError(f"--videos takes folders, and {folder} is none; name others")
    store = Store(args.memory)
    forget_old(store)
    _, memory = opened_memory(args, store)
    serve(memory, args.host, args.port, videos=args.videos, is_opened=args.open)
    return 0
