"""Content-addressed stage directories, atomic files, resume.

A stage directory is named after a hash of its configuration, of the directories it reads and of
the code that computes it. A file in it exists only when it is complete.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import json
import logging
import math
import os
import platform
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, get_args, get_type_hints

from filelock import FileLock

from ren_core.code_identity import code_digest
from ren_core.errors import ConfigError, StaleStageError

logger = logging.getLogger(__name__)

ABANDONED_SECONDS = 24 * 3600
"""A temporary older than this counts as left behind, whichever machine made it."""

LOCK_SECONDS = 60
"""How long a process waits for another one that is making the same directory."""

NOT_CONTENT = "no part of the content"
"""Marks a field of a configuration, in its ``Annotated`` type, that only matters for speed."""

DISTRIBUTIONS = {
    "torch": ("torch",),
    "numpy": ("numpy",),
    "opencv": ("opencv-python-headless", "opencv-python", "opencv-contrib-python"),
    "av": ("av",),
    "openvino": ("openvino",),
}
"""The packages whose versions may move a number, and the names under which they are installed."""


def digest(value: object, length: int = 12) -> str:
    """Hexadecimal hash of a configuration: dataclasses, mappings, sequences and scalars.

    >>> digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    True
    """
    text = json.dumps(to_plain(value), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def to_plain(
    value: Any,  # noqa: ANN401 - JSON-like values of any depth
    *,
    fields: Callable[[Any], Iterable[dataclasses.Field[Any]]] = dataclasses.fields,
) -> Any:  # noqa: ANN401
    """A configuration as JSON types; dataclasses carry their class name.

    Args:
        value: What is to be written.
        fields: Which fields of a dataclass are kept.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        kept = {f.name: to_plain(getattr(value, f.name), fields=fields) for f in fields(value)}
        return {"type": type(value).__name__, **kept}
    if isinstance(value, dict):
        return {str(k): to_plain(v, fields=fields) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_plain(v, fields=fields) for v in value]
    if isinstance(value, Path):
        return str(value)
    return value


def plain_fields(plain: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a dataclass as ``to_plain`` wrote it, without its class name.

    >>> plain_fields({"type": "Point", "x": 1})
    {'x': 1}
    """
    return {name: value for name, value in plain.items() if name != "type"}


def open_stage(
    out: Path,
    name: str,
    config: object,
    *,
    code: str | Sequence[str],
    upstream: Sequence[str] = (),
    keep: str | None = None,
) -> Path:
    """Make (or find again) the directory of one stage; what killed runs left in it is removed.

    Several processes may open one stage at the same moment. Where the directory was made under
    other versions of Python or of the packages that compute, one line of the log says so.

    Args:
        out: Directory of the run's stages.
        name: The stage, such as ``"tokens"``.
        config: Everything that decides the content of the stage; fields that are marked as
            ``NOT_CONTENT`` do not count.
        code: The modules that compute the stage, often ``__name__``; their code and all that they
            import of ours belongs to the stage's identity.
        upstream: Names of the stage directories, or fingerprints of the files, that it reads.
        keep: Digest of other code whose directory shall be used as if it were of this code.

    Returns:
        ``out/<name>-<hash>``, holding ``stage.json``: the identity that was hashed, and versions.

    Raises:
        ConfigError: If there is no directory by the code ``keep``, with those that there are.
        DataError: If the source of ``code`` cannot be found or parsed.
        StaleStageError: If the directory was written with another configuration.
    """
    identity = {
        "config": content(config),
        "upstream": list(upstream),
        "code": keep or _digest_of_code(code),
    }
    directory = out / f"{name}-{digest(identity)}"
    record = directory / "stage.json"
    if keep is not None and not record.exists():
        raise ConfigError(_nothing_kept(out, name, identity))
    if not record.exists():
        directory.mkdir(parents=True, exist_ok=True)
        with FileLock(directory / ".stage.lock", timeout=LOCK_SECONDS):
            if not record.exists():
                write_json(record, {**identity, "versions": _versions()})

    written = json.loads(record.read_text())
    versions = written.pop("versions", _versions())
    if written != identity:
        raise StaleStageError(
            f"{directory} was written with another configuration; remove it or choose another --out"
        )
    now = _versions()
    changed = [f"{k} {versions.get(k)}, now {now[k]}" for k in now if versions.get(k) != now[k]]
    if changed:
        logger.info("%s was made with other versions: %s", directory, "; ".join(changed))
    remove_leftovers(directory)
    return directory


def content(config: object) -> Any:  # noqa: ANN401 - JSON-like values of any depth
    """``to_plain`` of what decides a stage's content: without fields marked ``NOT_CONTENT``."""
    return to_plain(config, fields=_content_fields)


def _content_fields(config: Any) -> Iterator[dataclasses.Field[Any]]:  # noqa: ANN401
    kinds = get_type_hints(type(config), include_extras=True)
    return (
        field
        for field in dataclasses.fields(config)
        if NOT_CONTENT not in get_args(kinds[field.name])
    )


def _digest_of_code(modules: str | Sequence[str]) -> str:
    if isinstance(modules, str):
        return code_digest(modules)
    return digest([code_digest(module) for module in modules])


def _nothing_kept(out: Path, name: str, identity: dict[str, Any]) -> str:
    """What there is in place of a stage that shall be kept."""
    wanted = {**identity, "code": None}
    found = []
    for record in sorted(out.glob(f"{name}-*/stage.json")):
        other = json.loads(record.read_text())
        other.pop("versions", None)
        if {**other, "code": None} == wanted:
            found.append(other["code"])
    there = f"there are some by {', '.join(found)}" if found else "there are none by other code"
    return f"{out} has no {name} of this configuration by the code {identity['code']}; {there}"


@cache
def _versions() -> dict[str, str | None]:
    """Versions of Python and of the packages that compute; None for what is not installed."""
    versions = {name: _first_version(names) for name, names in DISTRIBUTIONS.items()}
    return {"python": platform.python_version(), **versions}


def _first_version(distributions: Sequence[str]) -> str | None:
    for name in distributions:
        with suppress(importlib.metadata.PackageNotFoundError):
            return importlib.metadata.version(name)
    return None


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Give a temporary path beside ``target``; rename it there on success, remove it on error."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{machine_name()}-{os.getpid()}.partial")
    try:
        yield temporary
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def remove_leftovers(directory: Path) -> None:
    """Remove temporaries of ``atomic_path`` below a directory that no process will ever rename.

    These are the ones whose process on this machine has ended, and all that are a day old.
    """
    for path in directory.rglob(".*.partial"):
        with suppress(OSError):  # another process may be as tidy
            if is_abandoned(path):
                path.unlink()


def is_abandoned(temporary: Path) -> bool:
    """Whether no process will go on with a file named ``.(...).MACHINE-PROCESS.(suffix)``."""
    machine, _, pid = temporary.name.split(".")[-2].rpartition("-")
    if machine == machine_name() and not _is_alive(int(pid)):
        return True
    return time.time() - temporary.stat().st_mtime > ABANDONED_SECONDS


def _is_alive(pid: int) -> bool:
    if sys.platform == "win32":  # where signal 0 is not a question
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


@cache
def machine_name() -> str:
    """This machine and, on Linux, its space of process ids (containers have their own)."""
    space = Path("/proc/self/ns/pid")
    return digest([platform.node(), str(space.readlink()) if space.is_symlink() else ""], 8)


def write_text(target: Path, text: str) -> None:
    """Write a UTF-8 file atomically; a file that holds this text already is left untouched."""
    content = text.encode()
    if target.is_file() and target.read_bytes() == content:
        return
    with atomic_path(target) as tmp:
        tmp.write_bytes(content)


def write_json(target: Path, value: object) -> None:
    """Write JSON as ``write_text`` does: one-space indent, keys as given, final newline."""
    write_text(target, json.dumps(to_plain(value), indent=1, allow_nan=False) + "\n")


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
