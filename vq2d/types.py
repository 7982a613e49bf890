"""The few types that travel between the stages of visual query localization."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ren_core.errors import DataError, ShapeError
from ren_core.geometry import Boxes, Mask
from ren_core.images import Image


class FrameSource(Protocol):
    """Frames of a clip at the annotation rate (5 fps), in the pixels of the video file."""

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width of every frame, in pixels."""
        ...

    @property
    def held(self) -> AbstractSet[int]:
        """Of the frames read so far, those that cannot be decoded: the last good one stands in."""
        ...

    def __len__(self) -> int:
        """Number of frames."""
        ...

    def __getitem__(self, frame_idx: int) -> Image:
        """Frame ``frame_idx`` (0-based), RGB; ``IndexError`` outside the clip."""
        ...

    def __iter__(self) -> Iterator[Image]:
        """All frames in order."""
        ...


@dataclass(frozen=True, slots=True)
class ResponseTrack:
    """One box per frame over consecutive frames: contiguous by construction.

    Attributes:
        start_frame: Clip frame (0-based, 5 fps) of the first box.
        boxes_xyxy: (T, 4) float32, T >= 1, half-open pixels.
        score: Confidence; only its rank among all queries matters.
    """

    start_frame: int
    boxes_xyxy: Boxes
    score: float

    def __post_init__(self) -> None:
        if self.boxes_xyxy.ndim != 2 or self.boxes_xyxy.shape[1] != 4 or not len(self.boxes_xyxy):
            raise DataError(f"a track needs (T, 4) boxes, T >= 1; got {self.boxes_xyxy.shape}")

    @property
    def end_frame(self) -> int:
        """One past the last frame."""
        return self.start_frame + len(self.boxes_xyxy)

    def holds(self, frame_idx: int) -> bool:
        """Whether a clip frame lies in the track."""
        return self.start_frame <= frame_idx < self.end_frame

    def scaled(self, factor_xy: tuple[float, float]) -> ResponseTrack:
        """The same track in pixels of an image ``factor_xy`` times as wide and high."""
        factors = np.array([*factor_xy, *factor_xy], np.float32)
        return replace(self, boxes_xyxy=(self.boxes_xyxy * factors).astype(np.float32))


@dataclass(frozen=True, slots=True)
class QueryKey:
    """Identity of a query: positions in the annotation file, since uids may be null or repeat."""

    video_idx: int
    clip_idx: int
    annotation_idx: int
    query_set: str

    def __str__(self) -> str:
        return f"v{self.video_idx}-c{self.clip_idx}-a{self.annotation_idx}-q{self.query_set}"


@dataclass(frozen=True, slots=True)
class VisualQuery:
    """The question: where and when was the object in ``crop_box_xyxy`` last seen?

    Attributes:
        key: Where the query stands in the annotation file.
        query_frame: Clip frame at which the question is asked; the search covers frames before it.
        crop_frame: Clip frame that shows the object; may lie after ``query_frame``.
        crop_box_xyxy: (4,) float32, pixels of an image of ``original_size_hw``; may leave it.
        original_size_hw: Height, width of the frames that the annotation's boxes refer to.
        response: The true track in original pixels (score 1.0), if known.
        object_title: Name of the object, if known.
    """

    key: QueryKey
    query_frame: int
    crop_frame: int
    crop_box_xyxy: Boxes
    original_size_hw: tuple[int, int]
    response: ResponseTrack | None = None
    object_title: str | None = None

    def frame_scale(self, size_hw: tuple[int, int]) -> tuple[float, float]:
        """Factors (x, y) from original pixels to those of a file of ``size_hw`` (height, width)."""
        H, W = self.original_size_hw
        return size_hw[1] / W, size_hw[0] / H

    def search_end(self, num_frames: int) -> int:
        """One past the last frame searched, in a clip of ``num_frames`` frames."""
        return min(self.query_frame, num_frames)

    def crop_box_in(self, size_hw: tuple[int, int]) -> Boxes:
        """The query's box (4,) in pixels of a file of height and width ``size_hw``."""
        scaled: Boxes = self.crop_box_xyxy * np.array(self.frame_scale(size_hw) * 2, np.float32)
        return scaled

    def response_in(self, size_hw: tuple[int, int]) -> ResponseTrack | None:
        """The true track, if known, in pixels of a file of height and width ``size_hw``."""
        return None if self.response is None else self.response.scaled(self.frame_scale(size_hw))

    def to_original(self, track: ResponseTrack, size_hw: tuple[int, int]) -> ResponseTrack:
        """A track in pixels of a file of ``size_hw``, in those that the annotation counts in."""
        H, W = self.original_size_hw
        return track.scaled((W / size_hw[1], H / size_hw[0]))


@dataclass(frozen=True, slots=True)
class ObjectView:
    """An object in one picture.

    Attributes:
        picture: (H, W, 3) RGB.
        box_xyxy: (4,) the object in it, pixels of ``picture``; may leave it.
        mask: (H, W) the object's pixels, where they are known; None: a segmenter finds them.
    """

    picture: Image
    box_xyxy: Boxes
    mask: Mask | None = None

    def __post_init__(self) -> None:
        if self.mask is not None and self.mask.shape != self.picture.shape[:2]:
            raise ShapeError(
                f"the mask of a picture of {self.picture.shape[:2]} pixels (height, width) must "
                f"have that shape, got {self.mask.shape}"
            )


@dataclass(frozen=True, slots=True)
class Question:
    """A query in the pixels of the video file.

    Attributes:
        views: The object in one picture or several, at least one.
        search_end: One past the last frame searched.
        crop_frame: Clip frame of the one view; None if the views are not from the clip.
    """

    views: tuple[ObjectView, ...]
    search_end: int
    crop_frame: int | None

    def __post_init__(self) -> None:
        if not self.views:
            raise DataError("a question needs a picture of the object, and there is none")


@dataclass(frozen=True, slots=True)
class FrameScores:
    """The best token of each searched frame.

    Attributes:
        frame_idx: (F,) int32, ascending.
        similarity: (F,) float32 cosine to the nearest query token.
        points_xy: (F, 2) float32, frame pixels.
        own: Clip frames of the occurrence that the query's picture was taken from, which is no
            answer; None if it was not searched.
    """

    frame_idx: NDArray[np.int32]
    similarity: NDArray[np.float32]
    points_xy: NDArray[np.float32]
    own: range | None = None

    @property
    def is_own(self) -> NDArray[np.bool_]:
        """(F,) true in the query's own occurrence."""
        if self.own is None:
            return np.zeros(len(self.frame_idx), np.bool_)
        return (self.frame_idx >= self.own.start) & (self.frame_idx < self.own.stop)

    @property
    def answerable(self) -> NDArray[np.float32]:
        """(F,) similarity, 0 in the query's own occurrence."""
        return np.where(self.is_own, np.float32(0), self.similarity)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A place where the object may be.

    Attributes:
        frame_idx: Clip frame.
        point_xy: (x, y) in frame pixels, inside the object.
        similarity: Cosine of the best token there to the best query token.
        box_xyxy: (4,) float32 in frame pixels, once refined.
        refined_score: Similarity in the zoomed crop, once refined.
        colours: Share 0..1 of the colours that its mask has in common with the query's, once
            refined.
    """

    frame_idx: int
    point_xy: tuple[float, float]
    similarity: float
    box_xyxy: Boxes | None = None
    refined_score: float | None = None
    colours: float | None = None


@dataclass(frozen=True, slots=True)
class Localization:
    """The answer and how it came about.

    Attributes:
        track: In frame pixels; None if nothing was found.
        scores: Best token of each searched frame, first search.
        candidates: All candidates of both searches, refined.
        seed: The candidate that the track started from.
        rounds: Searches that were made.
        held: Searched clip frames that cannot be decoded: the last good one stood in.
        present: Probability that the searched frames show the thing at all, if that is as likely as
            not before the search; None if the configuration does not say.
    """

    track: ResponseTrack | None
    scores: FrameScores
    candidates: tuple[Candidate, ...]
    seed: Candidate | None
    rounds: int
    held: tuple[range, ...] = ()
    present: float | None = None
