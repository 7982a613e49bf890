"""Tracking by re-detection: labels of known patches vote in a window around the last box."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Annotated

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from ren_core.configuration import Cosine, Count, Share, configuration
from ren_core.geometry import Boxes, Mask, box_area, box_iou, box_to_mask, clip_boxes
from ren_core.images import Image, to_tensor
from ren_core.regions import mask_on_grid
from vq2d.masking.base import Segment, TrackStep, VideoTracker
from vq2d.masking.outline import OutliningSegmenter, Rough
from vq2d.masking.region import cells_to_box
from vq2d.types import FrameSource
from vq2d.video.crops import Crop, square_crop

_RECENT = 3
"""Looks whose similarity a sudden drop is measured by."""


@configuration(group="region_tracker")
class RegionTrackerConfig:
    """How an object is followed.

    Attributes:
        view: Side of the window, as a multiple of the last box's longer side.
        min_view: Least side of the window, as a share of the frame's longer side.
        neighbours: Labelled patches that vote on each patch.
        temperature: Of the softmax that weighs their votes.
        inside: A patch belongs to the object if at least this share of the votes says so.
        lost: The track ends when the best patch is less similar to the object's than this.
        drop: It ends, too, below this share of the mean similarity of the last three looks.
        sure: At this similarity or above, the frame's patches replace those remembered last.
        stride: Frames from one look to the next; boxes between them are interpolated.
        max_growth: A box that grows or shrinks (area) by more than this factor in one frame is
            replaced by the patches' own box.
    """

    view: Annotated[float, Field(ge=1, le=100)] = 5.0
    min_view: Share = 0.2
    neighbours: Count = 5
    temperature: Annotated[float, Field(ge=0.001, le=100)] = 0.1
    inside: Share = 0.5
    lost: Cosine = 0.45
    drop: Share = 0.6
    sure: Cosine = 0.65
    stride: Annotated[int, Field(ge=1, le=1000)] = 1
    max_growth: Annotated[float, Field(ge=1, le=1000)] = 2.0


@dataclass(frozen=True, slots=True)
class _Memory:
    """Patches of one view: unit vectors (P, D), and the object's share of each (P,)."""

    vectors: Tensor
    labels: Tensor


@dataclass(frozen=True, slots=True)
class _Found:
    """The object in a frame: its outline, the similarity, and the view with its patches (P, D)."""

    segment: Segment
    score: float
    view: Crop
    vectors: Tensor


@dataclass(frozen=True, slots=True)
class _Vote:
    """What patches say of the object.

    Attributes:
        box_xyxy: Of its patches, in the frame.
        point_xy: Centre of the best patch.
        moved_xyxy: Its last box, moved to its patches.
        score: Similarity of the best patch.
    """

    box_xyxy: Boxes
    point_xy: tuple[float, float]
    moved_xyxy: Boxes
    score: float


@dataclass(slots=True)
class _Way:
    """One way of a track: where it stands, and what it knows.

    Attributes:
        last: The last step.
        stop: Frame at which it ends at the latest, exclusive.
        stride: Frames to the next look.
        memory: The first view and the last sure one.
        recent: Similarities of the last looks.
        ended: Whether the object was lost.
    """

    last: TrackStep
    stop: int
    stride: int
    memory: list[_Memory]
    recent: deque[float] = field(default_factory=lambda: deque(maxlen=_RECENT))
    ended: bool = False

    @property
    def direction(self) -> int:
        """1 forwards, -1 backwards."""
        return 1 if self.stop > self.last.frame_idx else -1

    @property
    def ahead(self) -> int:
        """Frames to the next look; 0: there is none."""
        left = abs(self.stop - self.last.frame_idx) - 1
        return 0 if self.ended else min(self.stride, left)

    @property
    def usual(self) -> float:
        """Mean similarity of the last looks; 0 before the first."""
        return sum(self.recent) / len(self.recent) if self.recent else 0.0

    @property
    def next_frame(self) -> int:
        """Frame of the next look."""
        return self.last.frame_idx + self.direction * self.ahead

    def take(self, found: _Found | None, sure: float) -> Iterator[TrackStep]:
        """Go on to what was found at the next frame; yields the steps on the way there.

        If it is lost within a stride, the frames in between are looked at one by one.
        """
        if found is None:
            self.ended = self.ahead == 1
            self.stride = 1
            return
        if found.score >= sure:
            own = _Memory(found.vectors, _labels(found.segment.mask, found.view, found.vectors))
            self.memory = [self.memory[0], own]
        self.recent.append(found.score)
        step = TrackStep(self.next_frame, found.segment.box_xyxy, found.score)
        yield from _between(self.last, step)
        self.last = step


class RegionTracker(VideoTracker):
    """``VideoTracker`` for the embedded preset; memory: the first view and the last sure one."""

    def __init__(
        self, segmenter: OutliningSegmenter, config: RegionTrackerConfig | None = None
    ) -> None:
        self.segmenter = segmenter
        self.config = config or RegionTrackerConfig()

    def track(
        self, frames: FrameSource, start_frame: int, box_xyxy: Boxes, stop_frame: int
    ) -> Iterator[TrackStep]:
        """See ``VideoTracker.track``."""
        return self._follow(frames, start_frame, box_xyxy, (stop_frame,))

    def track_both(
        self, frames: FrameSource, start_frame: int, box_xyxy: Boxes, stop_frames: tuple[int, int]
    ) -> Iterator[TrackStep]:
        """See ``VideoTracker.track_both``: in step, so that networks see two frames at once."""
        return self._follow(frames, start_frame, box_xyxy, stop_frames)

    def _follow(
        self, frames: FrameSource, start_frame: int, box_xyxy: Boxes, stops: Sequence[int]
    ) -> Iterator[TrackStep]:
        first = frames[start_frame]
        segment = self.segmenter.from_box(first, box_xyxy)
        mask = segment.mask if segment else box_to_mask(box_xyxy, frames.size_hw)
        view = self._view(box_xyxy, frames.size_hw)
        (vectors,) = self._vectors([first], [view])
        memory = [_Memory(vectors, _labels(mask, view, vectors))]
        start = TrackStep(start_frame, box_xyxy, 1.0)
        yield start
        ways = [_Way(start, stop, self.config.stride, memory) for stop in stops]
        while going := [way for way in ways if way.ahead]:
            images = [frames[way.next_frame] for way in going]
            for way, found in zip(going, self._find(images, going), strict=True):
                yield from way.take(found, self.config.sure)

    def _find(self, images: Sequence[Image], ways: Sequence[_Way]) -> list[_Found | None]:
        """The object near its last box in the next frame of each way."""
        size_hw = (images[0].shape[0], images[0].shape[1])
        views = [self._view(way.last.box_xyxy, size_hw) for way in ways]
        vectors = self._vectors(images, views)
        seen = [self._vote(*known) for known in zip(vectors, views, ways, strict=True)]
        roughs = [
            Rough(image, vote.box_xyxy, vote.point_xy, vote.moved_xyxy)
            for image, vote in zip(images, seen, strict=True)
            if vote is not None
        ]
        outlines = iter(self.segmenter.outlines(roughs))
        found: list[_Found | None] = []
        for image, view, own, vote, way in zip(images, views, vectors, seen, ways, strict=True):
            segment = None if vote is None else next(outlines)
            if vote is None or segment is None:
                found.append(None)
                continue
            segment = self._plausible(segment, vote.box_xyxy, way.last.box_xyxy, image)
            found.append(_Found(segment, vote.score, view, own))
        return found

    def _vote(self, vectors: Tensor, view: Crop, way: _Way) -> _Vote | None:
        """Where the patches (P, D) of a view show the object; None if they do not."""
        votes, similarity = self._votes(vectors, way.memory)
        best = int((votes.clamp(min=0.01) * similarity).argmax())
        score = float(similarity[best])
        if score < max(self.config.lost, self.config.drop * way.usual):
            return None
        side = round(len(vectors) ** 0.5)
        inside = (votes >= self.config.inside).view(side, side).cpu().numpy()
        inside.ravel()[best] = True
        parts = cv2.connectedComponents(inside.astype(np.uint8))[1]
        y, x = divmod(best, side)
        point = (
            view.left + (x + 0.5) * view.width / side,
            view.top + (y + 0.5) * view.height / side,
        )
        cells = parts == parts.ravel()[best]
        moved = _moved(way.last.box_xyxy, cells, view)
        return _Vote(cells_to_box(cells, view), point, moved, score)

    def _plausible(self, segment: Segment, rough: Boxes, last_box: Boxes, frame: Image) -> Segment:
        """The outline, or the patches' own box if the outline changed its size too suddenly."""
        growth = float(box_area(segment.box_xyxy)) / max(float(box_area(last_box)), 1.0)
        limit = self.config.max_growth
        if 1 / limit <= growth <= limit or float(box_iou(segment.box_xyxy, rough)) > 0.5:
            return segment
        size_hw = (frame.shape[0], frame.shape[1])
        box = clip_boxes(rough, size_hw)
        return Segment(box_to_mask(box, size_hw), box, segment.score)

    def _votes(self, vectors: Tensor, memory: list[_Memory]) -> tuple[Tensor, Tensor]:
        """Share of object among each patch's neighbours, and similarity to the object's patches."""
        known = torch.cat([m.vectors for m in memory])
        labels = torch.cat([m.labels for m in memory])
        similarity = vectors @ known.T  # (P, M)
        top, index = similarity.topk(min(self.config.neighbours, len(known)), dim=1)
        weights = (top / self.config.temperature).softmax(dim=1)
        votes = (weights * labels[index]).sum(dim=1)
        own = labels >= min(0.5, float(labels.max()))
        return votes, similarity[:, own].amax(dim=1)

    def _view(self, box: Boxes, size_hw: tuple[int, int]) -> Crop:
        longer = float((box[2:] - box[:2]).max())
        side = max(self.config.view * longer, self.config.min_view * max(size_hw))
        return square_crop((box[:2] + box[2:]) / 2, side, size_hw)

    def _vectors(self, images: Sequence[Image], views: Sequence[Crop]) -> list[Tensor]:
        """Unit vectors (P, D) of the patches of each image's view."""
        pictures = [to_tensor(view.cut(image)) for image, view in zip(images, views, strict=True)]
        features = self.segmenter.ren.patch_features(pictures).features.float()
        return list(F.normalize(features.flatten(2).transpose(1, 2), dim=2))


def _between(last: TrackStep, step: TrackStep) -> Iterator[TrackStep]:
    """The frames after ``last`` up to ``step``, boxes interpolated linearly."""
    count = abs(step.frame_idx - last.frame_idx)
    direction = 1 if step.frame_idx > last.frame_idx else -1
    for i in range(1, count):
        box = last.box_xyxy + (step.box_xyxy - last.box_xyxy) * np.float32(i / count)
        yield TrackStep(last.frame_idx + i * direction, box, min(last.score, step.score))
    yield step


def _labels(mask: Mask, view: Crop, vectors: Tensor) -> Tensor:
    """Share (P,) of each cell of a view that the object covers."""
    side = round(len(vectors) ** 0.5)
    share = mask_on_grid(view.cut_mask(mask), (side, side))
    return torch.from_numpy(share).flatten().to(vectors)


def _moved(box: Boxes, cells: Mask, view: Crop) -> Boxes:
    """A box, moved so that its middle is the centroid of some cells (h, w) of a view."""
    rows, columns = np.nonzero(cells)
    middle = np.array([columns.mean() + 0.5, rows.mean() + 0.5])
    scale = np.array([view.width / cells.shape[1], view.height / cells.shape[0]])
    shift = view.points_to_frame(middle * scale) - (box[:2] + box[2:]) / 2
    return (box + np.tile(shift, 2)).astype(np.float32)
