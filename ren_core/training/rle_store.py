"""Region masks of many pictures on disk: COCO RLE in shards of JSON lines.

A shard that exists is complete, so a killed extraction goes on with the next one. A picture without
a mask is a line with an empty list.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ren_core.errors import DataError
from ren_core.executor.base import Item, Pool, Progress
from ren_core.geometry import Mask
from ren_core.images import Image, read_image
from ren_core.progress import tqdm
from ren_core.regions import Rle
from ren_core.stages import atomic_path, file_fingerprint, open_stage
from ren_core.training.sources import Entry, RegionImage, file_identity, stack_masks

logger = logging.getLogger(__name__)


MaskMaker = Callable[[Image], Sequence[Rle]]


@dataclass(frozen=True, slots=True)
class StoredRegions:
    """A region source that reads a store.

    Attributes:
        entries: The pictures.
        lines: Shard and byte offset of each picture's line.
        settings: Content of the shards.
    """

    entries: Sequence[Entry]
    lines: Sequence[tuple[Path, int]]
    settings: object = None

    def read(self, index: int, variant: int = 0) -> RegionImage:
        """Read one picture and its masks.

        Raises:
            DataError: If masks and picture have different sizes.
        """
        shard, offset = self.lines[index]
        with shard.open("rb") as file:
            file.seek(offset)
            record = json.loads(file.readline())
        image = read_image(self.entries[index].image)
        masks = [decode_rle(rle) for rle in record["regions"]]
        size_hw = (image.shape[0], image.shape[1])
        if any(mask.shape != size_hw for mask in masks):
            raise DataError(
                f"{self.entries[index].image} is {size_hw[0]}x{size_hw[1]} pixels but its masks "
                f"are not; extract the regions again"
            )
        return RegionImage(image, stack_masks(masks, size_hw), np.arange(len(masks)))


@dataclass(frozen=True, slots=True)
class Shard:
    """A file of the store that is not there yet.

    Attributes:
        path: The file.
        pictures: Of its lines.
        videos: Which video each picture belongs to; empty: none.
    """

    path: Path
    pictures: tuple[Path, ...]
    videos: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ShardWriter:
    """Makes the masks of one shard at a time.

    Attributes:
        make_masks: Masks of an image.
        identity: What all writers of a store must agree on.
    """

    make_masks: MaskMaker
    identity: Mapping[str, str] = field(default_factory=dict)

    def __call__(self, shard: Shard, on_progress: Progress) -> int:
        """Write a shard; how many pictures it has."""
        with atomic_path(shard.path) as tmp, tmp.open("w") as file:
            for picture, video in zip(shard.pictures, shard.videos, strict=True):
                regions = list(self.make_masks(read_image(picture)))
                line = {"image": str(picture.resolve()), "video": video, "regions": regions}
                file.write(json.dumps(line, separators=(",", ":")) + "\n")
                on_progress("pictures", 1)
        return len(shard.pictures)


def extract_regions(
    pictures: Sequence[Path],
    pool: Pool[Shard, int],
    config: object,
    *,
    out: Path,
    shard_size: int = 500,
    root: Path | None = None,
) -> Path:
    """Write the masks of every picture that is not stored yet.

    Args:
        pictures: Picture files; their order decides the shards.
        pool: Workers that are a ``ShardWriter`` each.
        config: Everything that decides the masks, the content of weight files included.
        out: Folder of the stores.
        shard_size: Pictures per shard.
        root: Folder whose subfolders are videos; None: the pictures belong to no video.

    Returns:
        The store's directory.

    Raises:
        DataError: If a worker was lost too often; what the others made is kept.
    """
    videos = ["" if root is None else _video(picture, root) for picture in pictures]
    names = [
        " ".join(filter(None, (str(picture.resolve()), file_identity(picture), video)))
        for picture, video in zip(pictures, videos, strict=True)
    ]
    settings = {"masks": config, "shard_size": shard_size}
    store = open_stage(
        out, "regions", settings, upstream=names, code=[__name__, "ren_core.sam2.masks"]
    )
    starts = range(0, len(pictures), shard_size)
    todo = [start for start in starts if not _shard(store, start, shard_size).exists()]
    logger.info("regions: %d of %d shards to do in %s", len(todo), len(starts), store)
    items = []
    for start in todo:
        part = slice(start, start + shard_size)
        path = _shard(store, start, shard_size)
        shard = Shard(path, tuple(pictures[part]), tuple(videos[part]))
        items.append(Item(path.name, len(shard.pictures), shard))
    lost = {}
    with tqdm(total=len(items), desc="shards", disable=None) as bar:
        for done in pool.map(items, lambda *_: None):
            bar.update()
            if done.result is None:
                lost[done.item.name] = done.lost
    for name, reason in lost.items():
        raise DataError(f"{store / name} (one of {len(lost)} shards) was not made: {reason}")
    return store


def store_source(store: Path) -> StoredRegions:
    """Open a store; each picture is a group of its own, since masks are not named across pictures.

    Raises:
        DataError: If it holds nothing, or pictures have moved.
    """
    entries, lines = [], []
    shards = sorted(store.glob("regions-*.jsonl"))
    for shard in shards:
        offset = 0
        for line in shard.read_bytes().splitlines(keepends=True):
            record = json.loads(line)
            group = f"{shard.stem}@{offset}"
            entries.append(Entry(group, Path(record["image"]), video=record["video"]))
            lines.append((shard, offset))
            offset += len(line)
    if not entries:
        raise DataError(f"no regions-*.jsonl in {store}; make it with `vq2d extract-regions`")
    if not entries[0].image.is_file():
        raise DataError(
            f"{entries[0].image} is not there any more; extract the regions of {store} again"
        )
    return StoredRegions(entries, lines, {"shards": [file_fingerprint(s) for s in shards]})


def encode_rle(mask: Mask) -> Rle:
    """COCO RLE of a mask (H, W) bool."""
    from pycocotools import mask as coco_mask

    rle = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": [int(side) for side in rle["size"]], "counts": rle["counts"].decode()}


def decode_rle(rle: Rle) -> Mask:
    """Mask (H, W) bool of COCO RLE."""
    from pycocotools import mask as coco_mask

    decoded: Mask = coco_mask.decode(rle).astype(bool)
    return decoded


def _video(picture: Path, root: Path) -> str:
    """The subfolder that a picture lies in; nothing if it lies in the root itself."""
    folder = picture.parent.relative_to(root)
    return "" if folder == Path() else folder.as_posix()


def _shard(store: Path, start: int, shard_size: int) -> Path:
    return store / f"regions-{start // shard_size:05d}.jsonl"
