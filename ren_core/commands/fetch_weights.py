"""Fetch weight files into the cache, or list them."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence

from ren_core import weights
from ren_core.commands.parsers import COMMANDS
from ren_core.errors import ConfigError, DataError
from ren_core.weight_files import WeightFile, cache_dir, fetch, verified_path


def main(argv: Sequence[str] | None = None) -> int:
    """Fetch what was named; 0 done, 1 failed, 2 usage."""
    args = COMMANDS["fetch-weights"].parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if args.list:
        print(table())
        return 0
    try:
        files = chosen(args.names)
        if args.file is not None and len(files) != 1:
            raise ConfigError(f"--file needs exactly one name, got {len(files)}")
        for file in files:
            print(f"{file.name}: {fetch(file, local=args.file)}")
    except ConfigError as err:
        print(err, file=sys.stderr)
        return 2
    except DataError as err:
        print(err, file=sys.stderr)
        return 1
    return 0


def chosen(names: Sequence[str]) -> list[WeightFile]:
    """The files behind names and the group names ``embedded`` and ``all``, without repeats."""
    groups = {"embedded": weights.EMBEDDED, "all": tuple(weights.FILES)}
    flat = [member for name in names for member in groups.get(name, (name,))]
    return [weights.find(name) for name in dict.fromkeys(flat)]


def table() -> str:
    """One line per file: name, MB, present, licence, source."""
    import pandas as pd

    rows = [
        (file.name, megabytes(file), state(file), file.licence, str(file.source))
        for file in weights.FILES.values()
    ]
    columns = ["name", "MB", "present", "licence", "source"]
    listing = pd.DataFrame(rows, columns=columns).set_index("name").rename_axis(None)
    with pd.option_context("display.max_colwidth", None):
        text = listing.to_string(justify="left")
    note = "about: size and sha256 are not known beforehand; the first download records them."
    return "\n".join([f"cache: {cache_dir()}", text, note])


def megabytes(file: WeightFile) -> str:
    """The size of a file as fetched: exact where it is checked, else as far as it is known."""
    if file.size:
        return f"{file.size / 1e6:.1f}"
    return f"about {file.about / 1e6:.0f}" if file.about else "?"


def state(file: WeightFile) -> str:
    """Whether a file is in the cache and intact."""
    try:
        verified_path(file)
    except DataError:
        return "no"
    return "yes"
