"""Torch modules as OpenVINO's models: converted once, then read from disk.

Tracing a module takes many times as long as compiling it. A converted model lies in the folder of
the weights, named after all that decides it: the module's code, parameters and plain attributes,
the sizes of its inputs, and the versions of the packages involved.

What was just converted is read from disk too: as it is, it computes other last digits.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import logging
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ren_core.code_identity import PACKAGES, code_digest
from ren_core.engine.choice import core
from ren_core.stages import digest, to_plain
from ren_core.weight_files import cache_dir

logger = logging.getLogger(__name__)

FOREIGN = ("openvino", "timm", "torch", "torchvision")
"""Packages whose modules may be part of ours; their versions stand for their code."""
MOST_KEPT = 6
"""So many models are kept, those that were used last: edited code leaves old ones behind."""


def converted(module: nn.Module, inputs: Sequence[Tensor]) -> Any:  # noqa: ANN401 - OpenVINO's model
    """A module as OpenVINO's model, for inputs of the types and sizes of the given ones.

    Args:
        module: Takes tensors and gives one; its sizes do not depend on a tensor's values.
        inputs: Examples.
    """
    name = _identity(module, inputs)
    folder = cache_dir() / "converted"
    if name is None:
        return _convert(module, inputs)
    path = folder / name / "model.xml"
    if path.is_file():
        with suppress(OSError):  # the folder may be another user's
            path.touch()
        try:
            return core().read_model(path)
        except RuntimeError as err:
            logger.warning("%s is damaged and made anew: %s", path, str(err).splitlines()[0])
            shutil.rmtree(path.parent, ignore_errors=True)
    model = _convert(module, inputs)
    try:
        _keep(model, folder, name)
    except OSError as err:
        logger.warning("the converted model is not kept, and its last digits may differ: %s", err)
        return model
    return core().read_model(path)


def _convert(module: nn.Module, inputs: Sequence[Tensor]) -> Any:  # noqa: ANN401
    import openvino  # not installed on every machine

    with warnings.catch_warnings(), torch.no_grad():
        # tracing is deprecated in torch, but takes a fifth of the time of an export
        warnings.simplefilter("ignore")
        return openvino.convert_model(module, example_input=tuple(inputs))


def _keep(model: Any, folder: Path, name: str) -> None:  # noqa: ANN401
    """Write a model beside its place and rename it; the ones not used for longest go."""
    import openvino  # not installed on every machine

    folder.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=".", dir=folder))
    try:
        openvino.save_model(model, unfinished / "model.xml", compress_to_fp16=False)
        unfinished.replace(folder / name)
    except OSError:
        if not (folder / name).is_dir():  # another process may have been faster
            raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    kept = sorted(folder.glob("[!.]*/model.xml"), key=lambda path: -path.stat().st_mtime)
    for path in kept[MOST_KEPT:]:
        shutil.rmtree(path.parent, ignore_errors=True)


def _identity(module: nn.Module, inputs: Sequence[Tensor]) -> str | None:
    """A name for all that decides the model; None where some of its code is of neither kind."""
    homes = {type(part).__module__ for part in module.modules()}
    packages = {home.partition(".")[0] for home in homes}
    if not packages <= {*PACKAGES, *FOREIGN}:
        return None
    hasher = hashlib.sha256()
    for tensor in module.state_dict(keep_vars=True).values():
        hasher.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    ours = sorted(home for home in homes if home.partition(".")[0] in PACKAGES)
    return digest(
        {
            "code": [code_digest(home) for home in [__name__, *ours]],
            "parts": list(_attributes(module)),
            "parameters": hasher.hexdigest(),
            "inputs": [[str(x.dtype), list(x.shape)] for x in inputs],
            "versions": {name: _version(name) for name in FOREIGN},
        },
        24,
    )


def _attributes(module: nn.Module) -> Iterator[list[object]]:
    """Name, type and plain attributes of each part of a module."""
    for name, part in module.named_modules():
        plain = {
            key: to_plain(value)
            for key, value in sorted(vars(part).items())
            if not key.startswith("_") and _is_plain(value)
        }
        yield [name, type(part).__qualname__, repr(plain)]


def _is_plain(value: object) -> bool:
    kinds = (str, int, float, bool, tuple, list, dict, torch.dtype, torch.Size, type(None))
    return isinstance(value, kinds) or dataclasses.is_dataclass(value)


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
