"""The command ``vq2d``: each of its commands is a module, imported when it is called."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

COMMANDS = {
    "localize": "find where an object was last seen in one video",
    "remember": "add videos to a memory",
    "ask": "ask a memory where an object was last seen",
    "serve": "open a page on which a memory is asked",
    "memory": "list, check or remove what a memory holds",
    "run": "answer an annotation file of Ego4D's visual queries",
    "merge": "make one submission of the parts of several machines",
    "evaluate": "score a submission",
    "check-data": "look for damage in an annotation file and its clips",
    "baseline": "figures of simple ways to answer",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Call the command that the first word names; its exit code, or 2."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in ("-h", "--help"):
        print(usage())
        return 0 if words else 2
    name, *rest = words
    if name not in COMMANDS:
        print(f"vq2d: there is no command {name!r}\n{usage()}", file=sys.stderr)
        return 2
    module = importlib.import_module(f"vq2d.commands.{name.replace('-', '_')}")
    code: int = module.main(rest)
    return code


def usage() -> str:
    """The commands, a line each."""
    lines = [f"  {name:<12}{what}" for name, what in COMMANDS.items()]
    return "\n".join(["usage: vq2d COMMAND ... (vq2d COMMAND --help says more)", *lines])
