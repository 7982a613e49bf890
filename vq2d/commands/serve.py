"""Open a page in the browser on which a memory is asked: a box in a video, or pictures."""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Sequence
from pathlib import Path

from ren_core.errors import ConfigError
from vq2d.commands.shared import add_preset_options, forget_old, opened_memory, run_command
from vq2d.memory.store import Store

NEEDED = ("fastapi", "uvicorn", "python_multipart")


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--memory", type=Path, required=True, help="folder of the memory")
    parser.add_argument(
        "--videos",
        type=Path,
        nargs="+",
        default=[],
        metavar="DIR",
        help="folders whose videos may be added on the page (none; files can always be sent)",
    )
    parser.add_argument("--open", action="store_true", help="open the page in the browser")
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on; with one that others can reach, the printed address holds a "
        "token (127.0.0.1)",
    )
    parser.add_argument("--port", type=int, default=8421, help="port; 0: any that is free (8421)")
    add_preset_options(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until Ctrl-C; 0 ended, 1 failed, 2 usage."""
    args = build_parser().parse_args(argv)
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
