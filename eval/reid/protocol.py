"""Re-identification: is the object of an early frame found again in its video, and only there?

Frames of all videos are ranked by their best token. Any source of tokens that can be written as
one callable, ``eval.describe.Describe``, takes part. Each frame is described once, and scored
against every query while its tokens are there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from eval.ranking import average_precision, r_precision, roc_auc
from eval.reid.describe import Describe, Measure, QueryKind, query_tokens
from ren_core.errors import DataError
from ren_core.geometry import Mask
from ren_core.images import Image


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
    """

    gallery_step: int = 5
    query_frames: tuple[int, ...] = (2, 4, 8)


@dataclass(frozen=True, kw_only=True, slots=True)
class QueryRow:
    """Figures of one query; ``pointing`` is the share of true frames with the best token on it."""

    row: str
    query: QueryKind
    video: str
    frame: int
    frame_ap: float
    r_precision: float
    auc: float
    pointing: float


@dataclass(frozen=True, slots=True)
class Place:
    """A frame of a video, by its position."""

    video: Video
    position: int

    def image(self) -> Image:
        """RGB (H, W, 3)."""
        return read_image(self.video.frames[self.position])

    def mask(self) -> Mask:
        """(H, W), true on the object."""
        return read_mask(self.video.masks[self.position])


@dataclass(frozen=True, slots=True)
class Scored:
    """Queries against gallery frames, for one measure.

    Attributes:
        best: (Q, G) similarity of each frame's best token to each query.
        on_object: (Q, G) whether that token lies on the frame's own object.
    """

    best: NDArray[np.float32]
    on_object: NDArray[np.bool_]


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


def query_places(videos: Sequence[Video], config: ReidConfig) -> list[Place]:
    """Query frames that show their object."""
    places = [Place(v, p) for v in videos for p in config.query_frames if p < len(v.frames)]
    return [place for place in places if place.mask().any()]


def gallery_places(videos: Sequence[Video], config: ReidConfig) -> list[Place]:
    """Every ``gallery_step``-th frame of every video."""
    return [Place(v, p) for v in videos for p in range(0, len(v.frames), config.gallery_step)]


def evaluate_retrieval(
    videos: Sequence[Video],
    describe: Describe,
    config: ReidConfig,
    measures: Sequence[Measure],
    *,
    describe_query: Describe | None = None,
) -> list[QueryRow]:
    """One row per measure and query.

    Args:
        videos: Each shows one object that no other one shows.
        describe: Tokens of gallery frames.
        config: The protocol.
        measures: What is compared.
        describe_query: Tokens of query frames, if other ones.
    """
    queries, gallery = query_places(videos, config), gallery_places(videos, config)
    tokens = describe_queries(queries, describe_query or describe, measures)
    scored = score_gallery(tokens, gallery, describe)
    rows = []
    for measure, scores in scored.items():
        for number, query in enumerate(queries):
            used, same = frames_for(query, gallery)
            best, truth = scores.best[number, used].astype(np.float64), same[used]
            on_object = scores.on_object[number, used & same]
            rows.append(
                QueryRow(
                    row=measure.row,
                    query=measure.query,
                    video=query.video.name,
                    frame=query.position,
                    frame_ap=average_precision(best, truth),
                    r_precision=r_precision(best, truth),
                    auc=roc_auc(best, truth),
                    pointing=float(on_object.mean()) if on_object.size else float("nan"),
                )
            )
    return rows


def frames_for(
    query: Place, gallery: Sequence[Place]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which gallery frames (G,) a query is ranked against, and which (G,) are of its own video.

    Its own frame is left out, and frames of its video that do not show the object.
    """
    same = np.array([place.video.name == query.video.name for place in gallery], bool)
    own = np.array([place == query for place in gallery], bool)
    shown = np.array([not s or p.mask().any() for s, p in zip(same, gallery, strict=True)], bool)
    return ~own & shown, same


def describe_queries(
    queries: Sequence[Place], describe: Describe, measures: Sequence[Measure]
) -> dict[Measure, Tensor]:
    """Query tokens (Q, D) of every measure."""
    tokens: dict[Measure, list[Tensor]] = {measure: [] for measure in measures}
    for place in tqdm(queries, desc="queries", disable=None):
        found = query_tokens(describe(place.image()), place.mask(), measures)
        for measure, token in zip(measures, found, strict=True):
            tokens[measure].append(token)
    return {measure: torch.stack(found) for measure, found in tokens.items() if found}


def score_gallery(
    tokens: Mapping[Measure, Tensor], gallery: Sequence[Place], describe: Describe
) -> dict[Measure, Scored]:
    """The best token of every gallery frame for every query token (Q, D) of each measure."""
    scored = {
        measure: Scored(
            np.zeros((len(queries), len(gallery)), np.float32),
            np.zeros((len(queries), len(gallery)), bool),
        )
        for measure, queries in tokens.items()
    }
    for g, place in enumerate(tqdm(gallery, desc="gallery", disable=None)):
        descriptions, mask = describe(place.image()), place.mask()
        for measure, queries in tokens.items():
            described = descriptions[measure.row]
            similarity = described.similarity(queries)
            scored[measure].best[:, g] = similarity.max(1)
            scored[measure].on_object[:, g] = described.values_of(mask)[similarity.argmax(1)]
    return scored
