"""Tokens of database images and queries, each made once and kept on disk."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from torch import Tensor

from eval.coco import ADVICE, CocoImage, CocoSplit
from eval.retrieval.nearest import Search
from eval.retrieval.queries import Query, QueryConfig
from ren_core.encoders.base import PatchEncoder, PatchFeatures
from ren_core.errors import DataError
from ren_core.geometry import Mask
from ren_core.images import Image, read_image, to_tensor
from ren_core.model import REN
from ren_core.progress import tqdm
from ren_core.prompts import grid_centres, mask_prompts
from ren_core.regions import mask_on_grid
from ren_core.stages import atomic_path, file_fingerprint, open_stage

logger = logging.getLogger(__name__)

SOURCES = ("patches", "ren")
"""Where vectors come from: the encoder's patches, or REN's aligned region tokens."""

Arrays = dict[str, NDArray]  # type: ignore[type-arg]


@dataclass(frozen=True, slots=True)
class Ranked:
    """Every query against every image.

    Attributes:
        scores: (Q, M) highest cosine of the image's vectors.
        best: (Q, M) index of the vector that has it.
    """

    scores: NDArray[np.float32]
    best: NDArray[np.int64]


def database_tokens(
    split: CocoSplit, images: Sequence[CocoImage], ren: REN, *, out: Path, batch_size: int = 1
) -> Path:
    """Write the missing files of vectors, one per image; return the stage directory.

    A file holds, for each of ``SOURCES``, unit vectors (G, D) float16 and the points (G, 2) float32
    (row, column) in pixels of the image that they stand for.

    Args:
        split: The annotations that the images belong to.
        images: What to encode.
        ren: The model.
        out: Folder of the stages.
        batch_size: Images encoded at once.
    """
    directory = _open(out, "database", split, ren, ren.config)
    todo = [i for i in images if not _file(directory, i.image_id).exists()]
    logger.info("database: %d of %d images to do in %s", len(todo), len(images), directory)
    for start in tqdm(range(0, len(todo), batch_size), disable=None, desc="database"):
        batch = todo[start : start + batch_size]
        pictures = [read_checked(image) for image in batch]
        for image, arrays in zip(batch, image_vectors(pictures, ren), strict=True):
            _save(directory, image.image_id, arrays)
    return directory


def query_tokens(
    split: CocoSplit, queries: Sequence[Query], ren: REN, config: QueryConfig, *, out: Path
) -> Path:
    """Write the missing files of queries; return the stage directory.

    A file holds one unit vector (D,) float32 for each of ``SOURCES``.
    """
    identity = {"points": config.points, "seed": config.seed}
    directory = _open(out, "queries", split, ren, identity)
    todo = [q for q in queries if not _file(directory, q.annotation_id).exists()]
    logger.info("queries: %d of %d to do in %s", len(todo), len(queries), directory)
    for query in tqdm(todo, disable=None, desc="queries"):
        picture = read_checked(split.images[query.image_id])
        mask = split.mask(split.objects[query.annotation_id])
        seed = config.seed + query.annotation_id
        arrays = object_vectors(picture, mask, ren, points=config.points, seed=seed)
        _save(directory, query.annotation_id, arrays)
    return directory


def image_vectors(pictures: Sequence[Image], ren: REN) -> Iterator[Arrays]:
    """Vectors and points of whole images (H, W, 3), from one pass of the encoder."""
    with encoded_features(ren.encoder) as kept:
        regions = ren.encode([to_tensor(picture) for picture in pictures])
    for picture, patches, found in zip(pictures, kept[0].tokens, regions, strict=True):
        yield {
            "patches": _unit(patches).astype(np.float16),
            "patches_yx": grid_centres(kept[0].spec.grid, picture.shape[:2]),
            "ren": _unit(found.aligned_tokens).astype(np.float16),
            "ren_yx": found.points_yx.float().cpu().numpy(),
        }


def object_vectors(
    picture: Image, mask: Mask, ren: REN, *, points: int = 128, seed: int = 0
) -> Arrays:
    """One unit vector (D,) per source of an object.

    ``ren``: mean of the aligned tokens of random prompts inside the mask, drawn at the model's
    resolution. ``patches``: mean of the patches, weighted by the share that the mask covers.

    Args:
        picture: (H, W, 3) RGB.
        mask: (H, W), not empty.
        ren: The model.
        points: Prompts.
        seed: Of the prompts.
    """
    features = ren.patch_features(to_tensor(picture)[None])
    prompts = mask_prompts(mask_at(mask, ren.image_size), points, seed=seed)
    (tokens,) = ren.prompt_tokens(features, [prompts.points_yx])
    with torch.no_grad():
        pooled = ren.head.align(tokens).float().mean(dim=0)
    share = torch.from_numpy(mask_on_grid(mask, (features.spec.grid,) * 2)).flatten()
    patches = share.to(features.tokens.device) @ features.tokens[0].float()
    return {"patches": _unit(patches), "ren": _unit(pooled)}


def mask_at(mask: Mask, side: int) -> Mask:
    """A mask (H, W) on the model's square (side, side): nearest; touched pixels if none is left."""
    nearest = cv2.resize(mask.astype(np.uint8), (side, side), interpolation=cv2.INTER_NEAREST_EXACT)
    square: Mask = nearest.astype(bool)
    return square if square.any() else mask_on_grid(mask, (side, side)) > 0


@contextmanager
def encoded_features(encoder: PatchEncoder) -> Iterator[list[PatchFeatures]]:
    """Collect what the encoder computes inside the block, so that nothing is encoded twice."""
    kept: list[PatchFeatures] = []
    hook: Callable[..., None] = lambda _module, _inputs, output: kept.append(output)  # noqa: E731
    handle = encoder.register_forward_hook(hook)
    try:
        yield kept
    finally:
        handle.remove()


def rank(
    directory: Path,
    images: Sequence[CocoImage],
    queries: Mapping[str, NDArray[np.float32]],
    search: Search,
) -> dict[str, Ranked]:
    """Search every image for every query.

    Args:
        directory: Of ``database_tokens``.
        images: M images.
        queries: (Q, D) unit vectors of each source.
        search: See ``eval.retrieval.nearest``.
    """
    found: dict[str, list[tuple[NDArray[np.float32], NDArray[np.int64]]]] = {s: [] for s in queries}
    for image in tqdm(images, disable=None, desc="search"):
        arrays = read_vectors(directory, image.image_id)
        for source, vectors in queries.items():
            found[source].append(search(vectors, arrays[source].astype(np.float32)))
    return {
        source: Ranked(
            np.stack([scores for scores, _ in columns], axis=1),
            np.stack([best for _, best in columns], axis=1),
        )
        for source, columns in found.items()
    }


def stacked_queries(
    directory: Path, queries: Sequence[Query], sources: Sequence[str] = SOURCES
) -> dict[str, NDArray[np.float32]]:
    """Unit vectors (Q, D) of each source, from the directory of ``query_tokens``."""
    arrays = [read_vectors(directory, query.annotation_id) for query in queries]
    return {source: np.stack([a[source] for a in arrays]) for source in sources}


def read_vectors(directory: Path, item: int) -> Arrays:
    """The arrays of an image or query."""
    return load_file(_file(directory, item))


def read_checked(image: CocoImage) -> Image:
    """The picture (H, W, 3) of an annotated image.

    Raises:
        DataError: If the file is missing, or its size is not the annotated one.
    """
    if not image.file.is_file():
        raise DataError(f"{image.file} is missing: {ADVICE}")
    picture = read_image(image.file)
    if picture.shape[:2] != image.size_hw:
        raise DataError(
            f"{image.file} has {picture.shape[0]}x{picture.shape[1]} pixels, the annotations say "
            f"{image.size_hw[0]}x{image.size_hw[1]}; fetch images and annotations again"
        )
    return picture


def _open(out: Path, name: str, split: CocoSplit, ren: REN, config: object) -> Path:
    upstream = [ren.fingerprint, str(ren.dtype), file_fingerprint(split.file)]
    return open_stage(out, name, config, upstream=upstream, code=__name__)


def _file(directory: Path, item: int) -> Path:
    return directory / f"{item:012d}.safetensors"


def _save(directory: Path, item: int, arrays: Arrays) -> None:
    with atomic_path(_file(directory, item)) as tmp:
        save_file({name: np.ascontiguousarray(a) for name, a in arrays.items()}, tmp)


def _unit(vectors: Tensor) -> NDArray[np.float32]:
    unit: NDArray[np.float32] = F.normalize(vectors.float(), dim=-1).cpu().numpy()
    return unit
