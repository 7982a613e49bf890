"""What all command lines share: options of a configuration, a device check, exit codes."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from contextvars import copy_context
from dataclasses import fields
from typing import Any

from ren_core.errors import ConfigError, DataError, RunStoppedError, ShapeError, StaleStageError


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
        return copy_context().run(run) or 0  # what it sets of the context ends with it
    except usage as err:
        print(err, file=sys.stderr)
        return 2
    except (DataError, RunStoppedError, ShapeError, StaleStageError) as err:
        print(err, file=sys.stderr)
        return 1


def check_device(name: str | None) -> None:
    """Refuse a torch device that this machine does not have; None, the program's choice, passes.

    Raises:
        ConfigError: If it cannot be used; the message names the devices that can.
    """
    if name is None:
        return
    import torch  # late: a command line is read, and a file is scored, without it

    try:
        torch.zeros(1, device=name).cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as err:
        kinds = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
        usable = ["cpu", *(kind for kind, is_there in kinds.items() if is_there)]
        raise ConfigError(
            f"--device {name} cannot be used on this machine; it has {', '.join(usable)}"
        ) from err


def add_fields(parser: argparse.ArgumentParser, kind: type, meanings: Mapping[str, str]) -> None:
    """Add one option for every field of a configuration.

    An option that is not typed is absent from the parsed arguments: defaults stay in the dataclass.

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
    """The fields of a configuration that were typed on the command line; see ``add_fields``."""
    typed = vars(args)
    return {field.name: typed[field.name] for field in fields(kind) if field.name in typed}
