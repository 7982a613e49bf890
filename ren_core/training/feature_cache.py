"""Fixed augmented views with their frozen features on disk, made once, read every step."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from ren_core.configuration import Count, Seed, configuration
from ren_core.encoders.base import PatchEncoder
from ren_core.engine.choice import autocast
from ren_core.progress import tqdm
from ren_core.stages import atomic_path, digest, open_stage
from ren_core.training.samples import ViewSample, regions_of_view
from ren_core.training.sources import Entry, RegionSource, picture_fingerprints
from ren_core.training.views import View, ViewConfig, augment, plain_view

logger = logging.getLogger(__name__)


@configuration()
class CacheConfig:
    """What decides the content of a cache of one source.

    Attributes:
        source: Name of the source.
        encoder: Name of the encoder.
        views: The augmentation.
        views_per_image: Views of every picture.
        plain_first: View 0 is the squashed picture without augmentation.
        seed: Of the draws; every view has a generator of its own.
    """

    source: str
    encoder: str
    views: ViewConfig
    views_per_image: Count = 4
    plain_first: bool = False
    seed: Seed = 0


@dataclass(frozen=True, slots=True)
class FeatureCache:
    """A complete cache.

    Attributes:
        directory: Holds one safetensors file per picture.
        entries: The pictures.
        views_per_image: Views in every file.
    """

    directory: Path
    entries: Sequence[Entry]
    views_per_image: int

    def read(self, index: int, view: int) -> ViewSample:
        """One view of picture ``index``."""
        with safe_open(str(picture_file(self.directory, index)), framework="pt") as file:
            return ViewSample(
                file.get_slice("features")[view],
                file.get_slice("labels")[view].numpy(),
                file.get_tensor(f"names.{view}").numpy(),
                file.get_tensor(f"coverage.{view}").numpy(),
            )


def build_cache(
    source: RegionSource,
    encoder: PatchEncoder,
    config: CacheConfig,
    *,
    out: Path,
    fingerprint: str = "",
    dtype: torch.dtype = torch.float32,
) -> FeatureCache:
    """Augment and encode every picture of a source that is not there yet; stored as float16.

    A changed picture or label file makes another cache; a moved folder does not.

    Args:
        source: Pictures with regions.
        encoder: The frozen encoder, on the device where it shall run.
        config: What the views are.
        out: Folder of the caches.
        fingerprint: Identity of the encoder's weights.
        dtype: Precision of the encoder; other than float32 it runs under autocast.
    """
    pictures = picture_fingerprints(source)
    upstream = [fingerprint, str(dtype), digest(source.settings), *pictures]
    directory = open_stage(
        out, "views", config, upstream=upstream, code=[__name__, "ren_core.encoders.catalog"]
    )

    def encode(index: int) -> dict[str, Tensor]:
        return _encode_picture(source, encoder, config, index=index, dtype=dtype)

    write_missing(directory, len(pictures), encode, title=f"views of {config.source}")
    return FeatureCache(directory, source.entries, config.views_per_image)


def write_missing(
    directory: Path, count: int, encode: Callable[[int], dict[str, Tensor]], *, title: str
) -> None:
    """Write the tensors of every picture that has no file yet.

    Args:
        directory: Of the files, see ``picture_file``.
        count: Pictures.
        encode: Gives the tensors of one.
        title: What they are, for the log.
    """
    todo = [i for i in range(count) if not picture_file(directory, i).exists()]
    logger.info("%s: %d of %d to do in %s", title, len(todo), count, directory)
    for index in tqdm(todo, desc=title, disable=None):
        with atomic_path(picture_file(directory, index)) as tmp:
            save_file(encode(index), tmp)


def picture_file(directory: Path, index: int) -> Path:
    """The file of picture ``index`` in a cache."""
    return directory / f"{index:06d}.safetensors"


def draw_view(
    source: RegionSource, config: CacheConfig, index: int, number: int
) -> tuple[View, np.ndarray]:
    """View ``number`` of picture ``index``, and its region names; depends on nothing else."""
    region_image = source.read(index, variant=config.seed + index)
    if config.plain_first and number == 0:
        return plain_view(
            region_image.image, region_image.masks, config.views.size
        ), region_image.names
    rng = np.random.default_rng([config.seed, index, number])
    view = augment(region_image.image, region_image.masks, config.views, rng)
    return view, region_image.names


def _encode_picture(
    source: RegionSource,
    encoder: PatchEncoder,
    config: CacheConfig,
    *,
    index: int,
    dtype: torch.dtype,
) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    images, label_maps = [], []
    for number in range(config.views_per_image):
        view, names = draw_view(source, config, index, number)
        labels, kept, coverage = regions_of_view(view, names, encoder.spec.grid)
        images.append(torch.from_numpy(view.image).permute(2, 0, 1))
        label_maps.append(torch.from_numpy(labels))
        tensors[f"names.{number}"] = torch.from_numpy(kept)
        tensors[f"coverage.{number}"] = torch.from_numpy(coverage)
    device = next(encoder.parameters()).device
    with torch.inference_mode(), autocast(device, dtype):
        features = encoder(torch.stack(images).to(device).float() / 255).features
    tensors["features"] = features.half().cpu().contiguous()
    tensors["labels"] = torch.stack(label_maps)
    return tensors
