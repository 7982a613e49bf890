"""Features of pictures, each encoded once, since the encoder takes longer than the evaluations.

A picture's key is a hash of its pixels, so that one evaluation finds what another has encoded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor

from ren_core.configuration import configuration
from ren_core.encoders.base import EncoderSpec, PatchEncoder, fingerprint
from ren_core.encoders.embedded import EmbeddedEncoder
from ren_core.images import Image, to_batch
from ren_core.stages import atomic_path, open_stage

PATCH, RAW = "patch", "raw"

Features = dict[str, Tensor]
"""Maps (D, h, w) of one picture by name: ``patch``; of the embedded encoder also ``raw``."""

Encode = Callable[[Image], Features]


@configuration()
class FeatureConfig:
    """What decides the content of stored features."""

    spec: EncoderSpec
    maps: tuple[str, ...]
    dtype: str = "float16"


class FeatureStore:
    """Encodes a picture when it is first asked for, and keeps its features in float16.

    Args:
        encode: Features of a picture.
        folder: Where they are kept, one file per picture; None keeps them in memory.
    """

    def __init__(self, encode: Encode, folder: Path | None = None) -> None:
        self.encode = encode
        self.folder = folder
        self.encoded = 0
        self._held: dict[str, Features] = {}

    def __call__(self, image: Image) -> Features:
        """Features, float32, of an RGB image (H, W, 3)."""
        key = picture_key(image)
        kept = self._held.get(key) if self.folder is None else self._read(key)
        if kept is None:
            self.encoded += 1
            kept = {name: t.half().contiguous() for name, t in self.encode(image).items()}
            self._keep(key, kept)
        return {name: tensor.float() for name, tensor in kept.items()}

    def _read(self, key: str) -> Features | None:
        file = self._file(key)
        return load_file(file) if file.is_file() else None

    def _keep(self, key: str, features: Features) -> None:
        if self.folder is None:
            self._held[key] = features
            return
        with atomic_path(self._file(key)) as tmp:
            save_file(features, tmp)

    def _file(self, key: str) -> Path:
        assert self.folder is not None
        return self.folder / key[:2] / f"{key}.safetensors"


def open_store(encoder: PatchEncoder, root: Path | None) -> FeatureStore:
    """The store of an encoder: in memory, or in the stage folder of its weights under ``root``.

    The embedded encoder's pictures are also kept without whitening.

    Args:
        encoder: On the device where it shall run.
        root: Folder of the stores; None: memory.
    """
    encode: Encode = patch_encoder(encoder)
    maps: tuple[str, ...] = (PATCH,)
    if isinstance(encoder, EmbeddedEncoder):
        encode, maps = raw_and_patch_encoder(encoder), (PATCH, RAW)
    if root is None:
        return FeatureStore(encode)
    config = FeatureConfig(spec=encoder.spec, maps=maps)
    upstream = [fingerprint([encoder], encoder.spec.input_size)]
    folder = open_stage(
        root, "features", config, upstream=upstream, code=[__name__, "ren_core.encoders.catalog"]
    )
    return FeatureStore(encode, folder)


def patch_encoder(encoder: PatchEncoder) -> Encode:
    """The encoder's own features."""

    def encode(image: Image) -> Features:
        return {PATCH: encoder(to_batch(image)).features[0].float().cpu()}

    return encode


def raw_and_patch_encoder(encoder: EmbeddedEncoder) -> Encode:
    """The embedded encoder's features, and its layers normalised and weighted but not whitened."""

    @torch.no_grad()
    def encode(image: Image) -> Features:
        layers = encoder.sources(encoder.prepare(to_batch(image)))
        parts = [
            F.normalize(layer[0], dim=0) * weight
            for layer, weight in zip(layers.values(), encoder.weights, strict=True)
        ]
        return {PATCH: encoder.whiten(layers)[0].cpu(), RAW: torch.cat(parts).cpu()}

    return encode


def picture_key(image: Image) -> str:
    """Hash of a picture's pixels and shape."""
    hasher = hashlib.sha256(str(image.shape).encode())
    hasher.update(np.ascontiguousarray(image).data)
    return hasher.hexdigest()[:24]
