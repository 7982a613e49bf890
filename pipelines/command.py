"""The frame of a command line: errors that users can mend become one sentence and an exit code."""

from __future__ import annotations

import sys
from collections.abc import Callable

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
