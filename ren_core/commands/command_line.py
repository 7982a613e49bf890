"""A command as a word, its options, and the module that does the work, imported when it is called.

Options are declared apart from the work, so that help, mistakes and completion need no torch.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Command:
    """One command.

    Attributes:
        declare: Adds the options to a parser; its docstring is the description.
        module: Name of the module with ``main(argv)``.
    """

    declare: Callable[[argparse.ArgumentParser], None]
    module: str

    @property
    def description(self) -> str:
        """What the command does; the first line stands in lists of commands."""
        return inspect.cleandoc(self.declare.__doc__ or "")

    def parser(self, prog: str | None = None) -> argparse.ArgumentParser:
        """The command line.

        Args:
            prog: What the command is called in its help; None: the file that was started.
        """
        parser = argparse.ArgumentParser(
            prog=prog,
            description=self.description,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        self.declare(parser)
        return parser


def all_parser(
    prog: str, commands: Mapping[str, Command], description: str
) -> argparse.ArgumentParser:
    """One parser with every command under it."""
    parser = argparse.ArgumentParser(prog=prog, description=description)
    under = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, command in commands.items():
        text = command.description
        sub = under.add_parser(
            name,
            help=text.splitlines()[0].rstrip("."),
            description=text,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.declare(sub)
    return parser


def call(command: Command, prog: str, argv: Sequence[str]) -> int:
    """Do what the words after a command ask; its exit code.

    The command line is read before the module is imported: a question for help or a mistake ends
    here.
    """
    command.parser(prog).parse_args(argv)
    code: int = importlib.import_module(command.module).main(argv)
    return code
