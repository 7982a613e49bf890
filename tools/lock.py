"""Write constraints.txt: the versions with which everything here was run, for pip's ``-c``.

    python -m tools.lock

It holds what this environment has of the project's requirements, of all extras that are installed
and of all that they require. A version that does not run on Python 3.10 is left open there.
"""

from __future__ import annotations

import importlib.metadata as metadata
from pathlib import Path

import tomllib  # type: ignore[import-not-found,unused-ignore] # needs Python 3.11, as this tool does
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

PROJECT = "ren-vq2d"
BESIDE = ("cython", "fast-slic", "sam2", "setuptools", "wheel")
"""What the Makefile installs beside the project's requirements."""
OLDEST = "3.10"
ROOT = Path(__file__).resolve().parents[1]


def required(name: str, extras: frozenset[str] = frozenset()) -> list[Requirement]:
    """What an installed package asks for on this machine, with some of its extras."""
    asked = [Requirement(text) for text in metadata.requires(name) or ()]
    return [
        requirement
        for requirement in asked
        if requirement.marker is None
        or any(requirement.marker.evaluate({"extra": extra}) for extra in extras | {""})
    ]


def closure() -> set[str]:
    """Normal names of all packages that the project needs and that are installed."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    texts = [*project["dependencies"], *BESIDE]
    texts += [text for extra in project["optional-dependencies"].values() for text in extra]
    todo = [Requirement(text) for text in texts]
    seen: set[tuple[str, frozenset[str]]] = set()
    names: set[str] = set()
    while todo:
        requirement = todo.pop()
        key = (canonicalize_name(requirement.name), frozenset(requirement.extras))
        if key in seen or key[0] == PROJECT:
            continue
        seen.add(key)
        try:
            todo += required(*key)
        except metadata.PackageNotFoundError:
            continue
        names.add(key[0])
    return names


def line(name: str) -> str:
    """A constraint on one package."""
    runs_on = SpecifierSet(metadata.metadata(name).json.get("requires_python", ""))
    version = metadata.version(name).partition("+")[0]
    marker = "" if OLDEST in runs_on else f'; python_version > "{OLDEST}"'
    return f"{name}=={version}{marker}"


def main() -> None:
    """Write the file."""
    lines = ["# Written by python -m tools.lock: the versions that were run together."]
    lines += [line(name) for name in sorted(closure())]
    (ROOT / "constraints.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
