"""Tokens of a benchmark's images, made once: one file per image, and their table of similarities.

The whole-image token and the tokens of REN's regions lie in the same file, so that both methods
read the same pass of the encoder.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor

from eval.haystacks.protocol import Similarities
from ren_core.errors import ConfigError
from ren_core.images import read_image, to_tensor
from ren_core.model import REN
from ren_core.progress import tqdm
from ren_core.stages import atomic_path, digest, open_stage
from ren_core.transfer import RegionPooler, TransferConfig, TransferredRegions, transfer_regions

logger = logging.getLogger(__name__)

Encode = Callable[[Sequence[Tensor]], Sequence[TransferredRegions]]
"""Regions of pictures (3, H, W) uint8 of any size in the space of the text encoder."""


@dataclass(frozen=True, slots=True)
class RegionEncode:
    """REN's regions, pooled by another encoder; an ``Encode``."""

    ren: REN
    pooler: RegionPooler
    config: TransferConfig

    def __call__(self, images: Sequence[Tensor]) -> list[TransferredRegions]:
        """Regions of pictures (3, H, W) uint8."""
        return transfer_regions(images, self.ren.encode(images), self.pooler, self.config)

    def open_store(self, cache: Path, pooler_fingerprint: str) -> Path:
        """The stage directory of these tokens, named after both models and the configuration."""
        settings = {
            "regions": self.ren.config,
            "transfer": self.config,
            "pooler": self.pooler.spec,
            "dtype": str(self.ren.dtype),
        }
        upstream = [self.ren.fingerprint, pooler_fingerprint]
        return open_stage(cache, "haystack-tokens", settings, upstream=upstream, code=__name__)


def token_path(store: Path, name: str, file: Path) -> Path:
    """Where the tokens of an image lie: named after its name and size in bytes."""
    key = digest([name, file.stat().st_size], length=20)
    return store / key[:2] / f"{key}.safetensors"


def encode_images(files: Mapping[str, Path], encode: Encode, *, store: Path, batch: int = 8) -> int:
    """Write the tokens of the images that have none yet; a killed run loses one batch at most.

    Args:
        files: File of every image by its name.
        encode: Makes the tokens.
        store: The stage directory.
        batch: Images at once.

    Returns:
        How many images were encoded.

    Raises:
        ConfigError: If ``batch`` is below 1.
        DataError: If a file is no picture.
    """
    if batch < 1:
        raise ConfigError(f"the batch must hold at least 1 image, got {batch}")
    todo = [(n, f) for n, f in files.items() if not token_path(store, n, f).exists()]
    logger.info("haystack tokens: %d of %d images to do in %s", len(todo), len(files), store)
    for start in tqdm(range(0, len(todo), batch), desc="images", disable=None):
        part = todo[start : start + batch]
        found = encode([to_tensor(read_image(file)) for _, file in part])
        for (name, file), regions in zip(part, found, strict=True):
            stored = torch.cat([regions.image_token[None], regions.tokens])
            with atomic_path(token_path(store, name, file)) as tmp:
                save_file({"tokens": F.normalize(stored, dim=1).half().cpu()}, tmp)
    return len(todo)


def similarity_tables(
    files: Mapping[str, Path], texts: Mapping[str, Tensor], store: Path
) -> tuple[Similarities, Similarities]:
    """Similarity of every image to every text, in one pass over the stored tokens.

    Args:
        files: File of every image by its name, all of them encoded.
        texts: Unit embedding (D,) of every text.
        store: The stage directory.

    Returns:
        By the most similar region, and by the whole image.
    """
    columns = torch.stack(list(texts.values()), dim=1).float().cpu()  # (D, T)
    by_region, by_image = [], []
    for cosines in _cosines(files, columns, store):
        by_image.append(cosines[0].numpy())
        by_region.append(cosines[1:].amax(dim=0).numpy())
    rows = {name: i for i, name in enumerate(files)}
    order = {text: i for i, text in enumerate(texts)}
    regions, images = (Similarities(np.stack(t), rows, order) for t in (by_region, by_image))
    return regions, images


def _cosines(files: Mapping[str, Path], columns: Tensor, store: Path) -> Iterator[Tensor]:
    """(1 + R, T) for each image: the whole image first, then its regions."""
    for name, file in tqdm(files.items(), desc="similarities", disable=None):
        tokens = load_file(token_path(store, name, file))["tokens"].float()
        yield F.normalize(tokens, dim=1) @ columns
