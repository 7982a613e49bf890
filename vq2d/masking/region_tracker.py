"""Tracking by re-detection: labels of known patches vote in a window around the last box."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from ren_core.configuration import Cosine, Count, Share, configuration
from ren_core.geometry import Boxes, Mask, box_area, box_iou, clip_boxes
from ren_core.images import Image, to_tensor
from ren_core.regions import mask_on_grid
from vq2d.masking.base import Segment, TrackStep
from vq2d.masking.region import OutlineSize, RegionSegmenter, cells_to_box
from vq2d.types import FrameSource
from vq2d.video.crops import Crop, square_crop


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
        sure: At this similarity or above, the frame's patches replace those remembered last.
        outline_size: Side in pixels at which the saliency network sees the crop.
        stride: Frames from one look to the next; boxes between them are interpolated.
        max_growth: A box that grows or shrinks (area) by more than this factor in one frame is
            replaced by the patches' own box.
    """

    view: Annotated[float, Field(ge=1, le=100)] = 5.0
    min_view: Share = 0.2
    neighbours: Count = 5
    temperature: Annotated[float, Field(ge=0.001, le=100)] = 0.1
    inside: Share = 0.5
    lost: Cosine = 0.5
    sure: Cosine = 0.65
    outline_size: OutlineSize = 224
    stride: Annotated[int, Field(ge=1, le=1000)] = 1
    max_growth: Annotated[float, Field(ge=1, le=1000)] = 2.0


@dataclass(frozen=True, slots=True)
class _Memory:
    """Patches of one view: unit vectors (P, D), and the object's share of each (P,)."""

    vectors: Tensor
    labels: Tensor


class RegionTracker:
    """``VideoTracker`` for the embedded preset; memory: the first view and the last sure one."""

    def __init__(
        self, segmenter: RegionSegmenter, config: RegionTrackerConfig | None = None
    ) -> None:
        self.segmenter = segmenter
        self.config = config or RegionTrackerConfig()

    def track(
        self, frames: FrameSource, start_frame: int, box_xyxy: Boxes, stop_frame: int
    ) -> Iterator[TrackStep]:
        """See ``VideoTracker.track``."""
        first = frames[start_frame]
        segment = self.segmenter.from_box(first, box_xyxy)
        mask = segment.mask if segment else _box_mask(box_xyxy, frames.size_hw)
        memory = [self._remember(first, mask, box_xyxy)]
        last = TrackStep(start_frame, box_xyxy, 1.0)
        yield last
        direction = 1 if stop_frame > start_frame else -1
        stride = self.config.stride
        while (left := (stop_frame - last.frame_idx) * direction - 1) > 0:
            ahead = min(stride, left)
            found = self._find(frames[last.frame_idx + direction * ahead], last.box_xyxy, memory)
            if found is None and ahead == 1:
                return
            if found is None:
                stride = 1  # it is lost somewhere in between: look frame by frame
                continue
            segment, score, view, vectors = found
            if score >= self.config.sure:
                memory = [memory[0], _Memory(vectors, _labels(segment.mask, view, vectors))]
            step = TrackStep(last.frame_idx + direction * ahead, segment.box_xyxy, score)
            yield from _between(last, step)
            last = step

    def _find(
        self, frame: Image, last_box: Boxes, memory: list[_Memory]
    ) -> tuple[Segment, float, Crop, Tensor] | None:
        """The object near its last box, the similarity, and the view it was found in."""
        view = self._view(last_box, (frame.shape[0], frame.shape[1]))
        vectors, grid_hw = self._vectors(frame, view)
        votes, similarity = self._votes(vectors, memory)
        best = int((votes.clamp(min=0.01) * similarity).argmax())
        score = float(similarity[best])
        if score < self.config.lost:
            return None
        inside = (votes >= self.config.inside).view(grid_hw).cpu().numpy()
        inside.ravel()[best] = True
        parts = cv2.connectedComponents(inside.astype(np.uint8))[1]
        cells = parts == parts.ravel()[best]
        rough = cells_to_box(cells, view)
        y, x = divmod(best, grid_hw[1])
        point = (
            view.left + (x + 0.5) * view.width / grid_hw[1],
            view.top + (y + 0.5) * view.height / grid_hw[0],
        )
        segment = self.segmenter.outline(frame, rough, point, outline_size=self.config.outline_size)
        if segment is None:
            return None
        return self._plausible(segment, rough, last_box, frame), score, view, vectors

    def _plausible(self, segment: Segment, rough: Boxes, last_box: Boxes, frame: Image) -> Segment:
        """The outline, or the patches' own box if the outline changed its size too suddenly."""
        growth = float(box_area(segment.box_xyxy)) / max(float(box_area(last_box)), 1.0)
        limit = self.config.max_growth
        if 1 / limit <= growth <= limit or float(box_iou(segment.box_xyxy, rough)) > 0.5:
            return segment
        size_hw = (frame.shape[0], frame.shape[1])
        box = clip_boxes(rough, size_hw)
        return Segment(_box_mask(box, size_hw), box, segment.score)

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

    def _remember(self, frame: Image, mask: Mask, box: Boxes) -> _Memory:
        view = self._view(box, (frame.shape[0], frame.shape[1]))
        vectors, _ = self._vectors(frame, view)
        return _Memory(vectors, _labels(mask, view, vectors))

    def _view(self, box: Boxes, size_hw: tuple[int, int]) -> Crop:
        longer = float((box[2:] - box[:2]).max())
        side = max(self.config.view * longer, self.config.min_view * max(size_hw))
        return square_crop((box[:2] + box[2:]) / 2, side, size_hw)

    def _vectors(self, frame: Image, view: Crop) -> tuple[Tensor, tuple[int, int]]:
        picture = to_tensor(view.cut(frame))
        features = self.segmenter.ren.patch_features([picture]).features[0].float()
        unit = F.normalize(features.flatten(1).T, dim=1)
        return unit, (features.shape[1], features.shape[2])


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


def _box_mask(box: Boxes, size_hw: tuple[int, int]) -> Mask:
    mask = np.zeros(size_hw, bool)
    x1, y1, x2, y2 = clip_boxes(box, size_hw).round().astype(int)
    mask[y1:y2, x1:x2] = True
    return mask
