"""Everything that is drawn about one query, in pixels of the clip's frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ren_core.errors import DataError, ShapeError
from ren_core.geometry import Boxes, clip_boxes
from ren_core.images import Image
from vq2d.job.own_video import Asked
from vq2d.types import (
    Candidate,
    FrameSource,
    Localization,
    ObjectView,
    ResponseTrack,
    VisualQuery,
)

CLIP_FPS = 5  # every FrameSource runs at the annotation rate
MOST_STRIDE = 8  # longer gaps in a similarity curve were not searched
MOST_GIVEN = 3  # pictures of the object that are shown, of those that were given


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerView:
    """One query with its answer, as the video and the summary show it.

    Attributes:
        query: The question; its boxes may refer to another image size and are not drawn.
        frames: The clip.
        crop_box_xyxy: (4,) the query's crop, frame pixels; may leave the frame.
        similarity: (T,) best token similarity per frame; NaN where none was computed.
        candidates: Points and boxes in frame pixels.
        track: The answer in frame pixels; None if there is none.
        truth: The true track in frame pixels; None if unknown.
        metrics: What is printed in the summary, such as ``{"stIoU": 0.41}``.
        title: One line; the object's name or the query's key.
        query_views: The object in pictures that are not from the clip; empty: the query is the
            crop of a frame.
    """

    query: VisualQuery
    frames: FrameSource
    crop_box_xyxy: Boxes
    similarity: NDArray[np.float32]
    candidates: Sequence[Candidate] = ()
    track: ResponseTrack | None = None
    truth: ResponseTrack | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    title: str = ""
    query_views: Sequence[ObjectView] = ()

    def __post_init__(self) -> None:
        if self.crop_box_xyxy.shape != (4,):
            raise ShapeError(f"the crop box must have shape (4,), got {self.crop_box_xyxy.shape}")
        if self.similarity.ndim != 1:
            raise ShapeError(
                f"similarity must be one value per frame (T,), got {self.similarity.shape}"
            )
        if not len(self.frames):
            raise DataError(f"the clip of query {self.query.key} has no frames; nothing to draw")

    @property
    def crop_frame(self) -> int:
        """The frame that shows the crop, or the nearest one that exists."""
        return min(max(self.query.crop_frame, 0), len(self.frames) - 1)

    @property
    def crop_frame_end(self) -> int:
        """One past the frame that shows the crop; 0 if the query's picture is not from the clip."""
        return 0 if self.query_views else self.crop_frame + 1

    @property
    def window_end(self) -> int:
        """One past the last searched frame."""
        return min(max(self.query.query_frame, 0), len(self.frames))

    @property
    def heading(self) -> str:
        """The title on one line, or the query's key without one."""
        return " ".join(self.title.split()) or str(self.query.key)

    def crop_images(self) -> list[Image]:
        """The query's box cut out of its frame, or of the first of the given pictures.

        A crop outside the frame gives one grey pixel.
        """
        if not self.query_views:
            return [_cut_out(self.frames[self.crop_frame], self.crop_box_xyxy)]
        return [_cut_out(v.picture, v.box_xyxy) for v in self.query_views[:MOST_GIVEN]]


def box_at(track: ResponseTrack | None, frame_idx: int) -> Boxes | None:
    """The track's box (4,) in a frame, or None."""
    if track is None or not track.holds(frame_idx):
        return None
    box: Boxes = track.boxes_xyxy[frame_idx - track.start_frame]
    return box


def clock(frame_idx: float) -> str:
    """Time of a clip frame as minutes and seconds.

    >>> clock(617)
    '2:03.4'
    """
    tenths = round(frame_idx * 10 / CLIP_FPS)
    return f"{tenths // 600}:{tenths % 600 // 10:02d}.{tenths % 10}"


def similarity_range(view: AnswerView) -> tuple[float, float]:
    """Limits of an axis that shows the curve and all scores of the candidates, with a margin."""
    scores = [c.similarity for c in view.candidates]
    scores += [c.refined_score for c in view.candidates if c.refined_score is not None]
    values = np.concatenate([view.similarity, scores]).astype(np.float64)
    values = values[np.isfinite(values)]
    if not values.size:
        return 0.0, 1.0
    low, high = float(values.min()), float(values.max())
    margin = max(0.08 * (high - low), 0.01)
    return low - margin, high + margin


def view_of(
    query: VisualQuery,
    frames: FrameSource,
    found: Localization,
    *,
    metrics: Mapping[str, float],
    title: str,
) -> AnswerView:
    """What is drawn about one answer, in frame pixels."""
    return AnswerView(
        query=query,
        frames=frames,
        crop_box_xyxy=query.crop_box_in(frames.size_hw),
        similarity=_per_frame(found, len(frames)),
        candidates=found.candidates,
        track=found.track,
        truth=query.response_in(frames.size_hw),
        metrics=metrics,
        title=title,
    )


def view_of_own(asked: Asked, frames: FrameSource, found: Localization, title: str) -> AnswerView:
    """What is drawn about a video of one's own; pictures not from it are shown as given."""
    view = view_of(asked.query, frames, found, metrics={}, title=title)
    is_inside = asked.question.crop_frame is not None
    return view if is_inside else replace(view, query_views=asked.question.views)


def _cut_out(picture: Image, box_xyxy: Boxes) -> Image:
    """The part of a picture in a box; one grey pixel if that is empty."""
    box = clip_boxes(box_xyxy, picture.shape[:2])
    x1, y1 = np.floor(box[:2]).astype(int)
    x2, y2 = np.ceil(box[2:]).astype(int)
    crop: Image = picture[y1:y2, x1:x2]
    return crop if crop.size else np.full((1, 1, 3), 128, np.uint8)


def _per_frame(found: Localization, num_frames: int) -> NDArray[np.float32]:
    """Similarity (T,) of every frame; NaN where it was not searched or is the query's own."""
    similarity = np.full(num_frames, np.nan, np.float32)
    inside = found.scores.frame_idx < num_frames
    values = np.where(found.scores.is_own, np.nan, found.scores.similarity)
    similarity[found.scores.frame_idx[inside]] = values[inside]
    known = np.flatnonzero(~np.isnan(similarity))
    for before, after in pairwise(known):  # frames that the stride left out
        if 1 < after - before <= MOST_STRIDE:
            similarity[before + 1 : after] = similarity[before]
    return similarity
