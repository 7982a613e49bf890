"""Re-identification: is the object of an early frame found again in its video, and only there?

Frames of all videos are ranked by their best token. Any tokens can be compared that a callable
makes of an image, see ``eval.reid.tokens.Tokenize``. Tokens of a frame are made once and scored
against every query.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from eval.ranking import average_precision, r_precision, roc_auc
from eval.reid.tokens import Comparison, QueryKind, Tokenize, query_tokens
from ren_core.configuration import Count, configuration
from ren_core.errors import DataError
from ren_core.geometry import Mask
from ren_core.images import Image
from ren_core.progress import tqdm

_Position = Annotated[int, Field(ge=0, le=10_000)]


@dataclass(frozen=True, slots=True)
class Video:
    """Frames of one object and its masks, as files in order."""

    name: str
    frames: tuple[Path, ...]
    masks: tuple[Path, ...]


@configuration()
class ReidConfig:
    """The protocol.

    Attributes:
        gallery_step: Every so many frames of each video stand in the gallery.
        query_frames: Positions of the query frames in each video.
    """

    gallery_step: Count = 5
    query_frames: Annotated[tuple[_Position, ...], Field(min_length=1)] = (2, 4, 8)


@dataclass(frozen=True, kw_only=True, slots=True)
class QueryRow:
    """Figures of one query; ``pointing`` is the share of true frames with the best token on it."""

    kind: str
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
class GalleryScores:
    """Scores of gallery frames for queries, in one comparison.

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
    tokenize: Tokenize,
    config: ReidConfig,
    comparisons: Sequence[Comparison],
    *,
    tokenize_query: Tokenize | None = None,
) -> list[QueryRow]:
    """One row per comparison and query.

    Args:
        videos: Each shows one object that no other one shows.
        tokenize: Makes the tokens of gallery frames.
        config: The protocol.
        comparisons: What is compared.
        tokenize_query: Makes the tokens of query frames; None: as those of the gallery.
    """
    queries, gallery = query_places(videos, config), gallery_places(videos, config)
    tokens = tokenize_queries(queries, tokenize_query or tokenize, comparisons)
    scored = score_gallery(tokens, gallery, tokenize)
    rows = []
    for comparison, scores in scored.items():
        for number, query in enumerate(queries):
            used, same = frames_for(query, gallery)
            best, truth = scores.best[number, used].astype(np.float64), same[used]
            on_object = scores.on_object[number, used & same]
            rows.append(
                QueryRow(
                    kind=comparison.kind,
                    query=comparison.query,
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


def tokenize_queries(
    queries: Sequence[Place], tokenize: Tokenize, comparisons: Sequence[Comparison]
) -> dict[Comparison, Tensor]:
    """Query tokens (Q, D) of every comparison."""
    tokens: dict[Comparison, list[Tensor]] = {comparison: [] for comparison in comparisons}
    for place in tqdm(queries, desc="queries", disable=None):
        found = query_tokens(tokenize(place.image()), place.mask(), comparisons)
        for comparison, token in zip(comparisons, found, strict=True):
            tokens[comparison].append(token)
    return {comparison: torch.stack(found) for comparison, found in tokens.items() if found}


def score_gallery(
    queries: Mapping[Comparison, Tensor], gallery: Sequence[Place], tokenize: Tokenize
) -> dict[Comparison, GalleryScores]:
    """The best token of every gallery frame for every query token (Q, D) of each comparison."""
    scored = {
        comparison: GalleryScores(
            np.zeros((len(asked), len(gallery)), np.float32),
            np.zeros((len(asked), len(gallery)), bool),
        )
        for comparison, asked in queries.items()
    }
    for g, place in enumerate(tqdm(gallery, desc="gallery", disable=None)):
        tokens, mask = tokenize(place.image()), place.mask()
        for comparison, asked in queries.items():
            found = tokens[comparison.kind]
            similarity = found.similarity(asked)
            scored[comparison].best[:, g] = similarity.max(1)
            scored[comparison].on_object[:, g] = found.values_of(mask)[similarity.argmax(1)]
    return scored
