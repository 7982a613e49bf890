"""The command ``vq2d``: each of its commands is a module, imported when it is called."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import shtab

from ren_core.commands.command_line import Command, all_parser, call
from ren_core.commands.parsers import COMMANDS as MODEL_COMMANDS
from vq2d.commands.parsers import COMMANDS as JOB_COMMANDS


def add_completion(parser: argparse.ArgumentParser) -> None:
    """Print a script that completes vq2d's words in a shell: eval "$(vq2d completion bash)"."""
    parser.add_argument("shell", choices=shtab.SUPPORTED_SHELLS, help="which shell")


COMPLETION = Command(add_completion, __name__)
COMMANDS = {**JOB_COMMANDS, **MODEL_COMMANDS, "completion": COMPLETION}


def main(argv: Sequence[str] | None = None) -> int:
    """Call the command that the first word names; its exit code, or 2."""
    words = list(sys.argv[1:] if argv is None else argv)
    name = words[0] if words else ""
    if name == "completion":
        shell = COMPLETION.parser(f"vq2d {name}").parse_args(words[1:]).shell
        print(shtab.complete(build_parser(), shell=shell))
        return 0
    if name in COMMANDS:
        return call(COMMANDS[name], f"vq2d {name}", words[1:])
    build_parser().parse_args(words)  # help, or a mistake
    return 2


def build_parser() -> argparse.ArgumentParser:
    """All commands."""
    about = "Region tokens of images, and where an object was last seen in first-person video."
    return all_parser("vq2d", COMMANDS, about)
