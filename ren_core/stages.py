"""Content-addressed stage directories, atomic files, resume.

A stage directory is named after a hash of its configuration, of the directories it reads and of
the code version of the stage. A file in it exists only when it is complete.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ren_core.errors import StaleStageError


def digest(value: object, length: int = 12) -> str:
    """Hexadecimal hash of a configuration: dataclasses, mappings, sequences and scalars.

    >>> digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    True
    """
    text = json.dumps(to_plain(value), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def to_plain(value: Any) -> Any:  # noqa: ANN401 - JSON-like values of any depth
    """A configuration as JSON types; dataclasses carry their class name."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: to_plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {"type": type(value).__name__, **fields}
    if isinstance(value, dict):
        return {str(k): to_plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_plain(v) for v in value]
    if isinstance(value, Path):
        return str(value)
    return value


def open_stage(
    out: Path, name: str, config: object, *, upstream: Sequence[str] = (), version: int = 1
) -> Path:
    """Make (or find again) the directory of one stage.

    Args:
        out: Directory of the run's stages.
        name: The stage, such as ``"tokens"``.
        config: Everything that decides the content of the stage, and nothing else.
        upstream: Names of the stage directories, or fingerprints of the files, that it reads.
        version: Raised in the code whenever the stage's numbers change.

    Returns:
        ``out/<name>-<hash>``, holding ``stage.json``.

    Raises:
        StaleStageError: If the directory was written with another configuration.
    """
    identity = {"config": to_plain(config), "upstream": list(upstream), "version": version}
    directory = out / f"{name}-{digest(identity)}"
    directory.mkdir(parents=True, exist_ok=True)
    record = directory / "stage.json"
    if not record.exists():
        write_json(record, identity)
    elif json.loads(record.read_text()) != json.loads(json.dumps(identity)):
        raise StaleStageError(
            f"{directory} was written with another configuration; remove it or choose another --out"
        )
    return directory


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Give a temporary path beside ``target``; rename it there on success, remove it on error."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        yield temporary
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(target: Path, value: object) -> None:
    """Write JSON atomically: one-space indent, keys in the given order, final newline."""
    with atomic_path(target) as tmp:
        tmp.write_text(json.dumps(to_plain(value), indent=1, allow_nan=False) + "\n")


def write_figures(target: Path, value: object) -> None:
    """Write JSON as ``write_json`` does, with null for figures that are undefined (NaN, inf)."""
    write_json(target, without_nan(to_plain(value)))


def without_nan(value: Any) -> Any:  # noqa: ANN401 - JSON-like values of any depth
    """JSON types with None for what is not a finite number."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [without_nan(item) for item in value]
    return value


def file_fingerprint(path: Path) -> str:
    """Content identity of a large file: its size and the hash of its first, middle, last MiB."""
    size = path.stat().st_size
    hasher = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        for offset in (0, max(0, size // 2 - (1 << 19)), max(0, size - (1 << 20))):
            file.seek(offset)
            hasher.update(file.read(1 << 20))
    return hasher.hexdigest()[:16]
