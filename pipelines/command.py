"""The frame of a command line: errors that users can mend become one sentence and an exit code."""

from __future__ import annotations

import sys
from collections.abc import Callable

from ren_core.errors import ConfigError, DataError, ShapeError, StaleStageError


def exit_code(
    run: Callable[[], None], *, usage: tuple[type[Exception], ...] = (ConfigError,)
) -> int:
    """Call ``run`` and say on stderr what was wrong, if something was.

    Args:
        run: Does the work.
        usage: Errors that mean a wrong command line.

    Returns:
        0 done, 1 failed, 2 usage.
    """
    try:
        run()
    except usage as err:
        print(err, file=sys.stderr)
        return 2
    except (DataError, ShapeError, StaleStageError) as err:
        print(err, file=sys.stderr)
        return 1
    return 0
