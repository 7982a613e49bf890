"""Re-identification: is the object of an early frame found again in its video, and only there?

Frames of all videos are ranked by their best token. Any source of tokens that can be written as
one callable, ``eval.describe.Describe``, takes part.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from torch import Tensor

from eval.describe import Describe, Described, Image, QueryKind, query_token
from eval.ranking import average_precision, r_precision, roc_auc
from ren_core.errors import DataError
from ren_core.geometry import Mask


@dataclass(frozen=True, slots=True)
class Video:
    """Frames of one object and its masks, as files in order."""

    name: str
    frames: tuple[Path, ...]
    masks: tuple[Path, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class ReidConfig:
    """The protocol.

    Attributes:
        gallery_step: Every so many frames of each video stand in the gallery.
        query_frames: Positions of the query frames in each video.
        query: ``pooled``: mean of the unit tokens on the object; ``centre``: the deepest one.
    """

    gallery_step: int = 5
    query_frames: tuple[int, ...] = (2, 4, 8)
    query: QueryKind = "pooled"


@dataclass(frozen=True, kw_only=True, slots=True)
class QueryRow:
    """Figures of one query; ``pointing`` is the share of true frames with the best token on it."""

    video: str
    frame: int
    frame_ap: float
    r_precision: float
    auc: float
    pointing: float


@dataclass(frozen=True, slots=True)
class GalleryFrame:
    """A described frame of the gallery and the object's mask in it."""

    video: str
    position: int
    described: Described
    mask: Mask


def read_videos(root: Path) -> list[Video]:
    """Videos of a folder with ``frames/<name>/*.jpg`` and ``masks/<name>/*.png``.

    Raises:
        DataError: If there is none, or frames and masks do not belong together.
    """
    videos = []
    for folder in sorted((root / "frames").glob("*")):
        frames = tuple(sorted(folder.glob("*.jpg")))
        masks = tuple(sorted((root / "masks" / folder.name).glob("*.png")))
        if [f.stem for f in frames] != [m.stem for m in masks]:
            raise DataError(f"{folder}: {len(frames)} frames do not match {len(masks)} masks")
        videos.append(Video(folder.name, frames, masks))
    if not videos:
        raise DataError(f"no videos in {root}/frames; pass the data folder with --data")
    return videos


def read_image(file: Path) -> Image:
    """RGB (H, W, 3)."""
    return np.ascontiguousarray(_read(file, cv2.IMREAD_COLOR)[..., ::-1])


def read_mask(file: Path) -> Mask:
    """(H, W), true on the object."""
    mask: Mask = _read(file, cv2.IMREAD_GRAYSCALE) > 0
    return mask


def _read(file: Path, mode: int) -> Image:
    pixels = cv2.imread(str(file), mode)
    if pixels is None:
        raise DataError(f"{file} is missing or not an image; fetch the data again")
    return pixels.astype(np.uint8)


def build_gallery(videos: Sequence[Video], describe: Describe, step: int) -> list[GalleryFrame]:
    """Describe every ``step``-th frame of every video."""
    return [
        GalleryFrame(
            video.name, i, describe(read_image(video.frames[i])), read_mask(video.masks[i])
        )
        for video in videos
        for i in range(0, len(video.frames), step)
    ]


def evaluate_retrieval(
    videos: Sequence[Video], describe: Describe, config: ReidConfig
) -> Iterator[QueryRow]:
    """One row per query frame; a query's own frame never stands in its gallery."""
    gallery = build_gallery(videos, describe, config.gallery_step)
    for video in videos:
        for position in (p for p in config.query_frames if p < len(video.frames)):
            mask = read_mask(video.masks[position])
            if not mask.any():
                continue
            token = query_token(describe(read_image(video.frames[position])), mask, config.query)
            others = [g for g in gallery if (g.video, g.position) != (video.name, position)]
            yield score_query(token, video.name, position, others)


def score_query(
    token: Tensor, video: str, position: int, gallery: Sequence[GalleryFrame]
) -> QueryRow:
    """Rank a gallery by its best tokens; frames of the video whose mask is empty are left out."""
    scores, relevant, on_object = [], [], []
    for frame in gallery:
        present = frame.video == video
        if present and not frame.mask.any():
            continue
        similarity = frame.described.similarity(token)
        scores.append(similarity.max())
        relevant.append(present)
        if present:
            on_object.append(frame.described.values_of(frame.mask)[similarity.argmax()])
    ranked, truth = np.array(scores), np.array(relevant, bool)
    return QueryRow(
        video=video,
        frame=position,
        frame_ap=average_precision(ranked, truth),
        r_precision=r_precision(ranked, truth),
        auc=roc_auc(ranked, truth),
        pointing=float(np.mean(on_object)) if on_object else float("nan"),
    )
