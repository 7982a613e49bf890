"""The frame of a command line: errors that users can mend become one sentence and an exit code."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

import torch

from ren_core.errors import ConfigError, DataError, ShapeError, StaleStageError


def exit_code(
    run: Callable[[], int | None], *, usage: tuple[type[Exception], ...] = (ConfigError,)
) -> int:
    """Call ``run`` and say on stderr what was wrong, if something was.

    Args:
        run: Does the work; may return an exit code of its own.
        usage: Errors that mean a wrong command line.

    Returns:
        0 done, 1 failed, 2 usage.
    """
    try:
        return run() or 0
    except usage as err:
        print(err, file=sys.stderr)
        return 2
    except (DataError, ShapeError, StaleStageError) as err:
        print(err, file=sys.stderr)
        return 1


def check_device(name: str | None) -> None:
    """See that a torch device can be used here; None is what the program chooses itself.

    Raises:
        ConfigError: If it cannot, with those that can.
    """
    if name is None:
        return
    try:
        torch.zeros(1, device=name).cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as err:
        kinds = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
        usable = ["cpu", *(kind for kind, is_there in kinds.items() if is_there)]
        raise ConfigError(
            f"--device {name} cannot be used on this machine; it has {', '.join(usable)}"
        ) from err


def add_fields(parser: argparse.ArgumentParser, kind: type, meanings: Mapping[str, str]) -> None:
    """An option for every field of a configuration, of its default's type.

    What stands where none is typed is for the dataclass to say.

    Args:
        parser: Gets the options.
        kind: A dataclass whose fields have plain defaults.
        meanings: What the help says of each field.
    """
    for field in fields(kind):
        parser.add_argument(
            f"--{field.name.replace('_', '-')}",
            type=type(field.default),
            default=argparse.SUPPRESS,
            help=f"{meanings[field.name]} (default: {field.default})",
        )


def typed_fields(args: argparse.Namespace, kind: type) -> dict[str, Any]:
    """The fields of a configuration that were typed: options without a default of their own."""
    typed = vars(args)
    return {field.name: typed[field.name] for field in fields(kind) if field.name in typed}
