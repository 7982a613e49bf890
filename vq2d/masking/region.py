"""Masks from REN's regions and a small saliency network, where no SAM 2 checkpoint is at hand.

A point's region is found on the patch grid of a zoomed window, by similarity to the point; the
saliency network then draws the outline in the crop around it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field

from ren_core.configuration import Cosine, Share, configuration
from ren_core.geometry import (
    Boxes,
    Mask,
    box_iou,
    clip_boxes,
    expand_box,
    largest_component,
    mask_to_box,
)
from ren_core.images import Image, to_tensor
from ren_core.model import REN
from ren_core.prompts import grid_prompts
from vq2d.masking.appearance import scored_by_likeness
from vq2d.masking.base import Appearance, Place, Segment
from vq2d.masking.outline import (
    Outliner,
    OutliningSegmenter,
    Rough,
    SaliencyMaps,
    Zooms,
    windows_about,
)
from vq2d.video.crops import Crop


@configuration(group="region")
class RegionConfig:
    """How a region becomes a mask.

    Attributes:
        zooms: Sides of windows around a point, in shares of the frame's longer side; each window
            proposes a mask.
        similarity: Cells at least this similar to the point's belong to its region.
        margin: The outline is drawn in the region's box plus this share of it on every side.
        saliency: Pixels above it belong to the object.
        outline_size: Side in pixels at which the saliency network sees the crop.
        min_overlap: An outline whose IoU with the region's box is lower is replaced by that box.
    """

    zooms: Zooms = (0.33, 0.6, 1.0)
    similarity: Cosine = 0.4
    margin: Annotated[float, Field(ge=0, le=10)] = 0.4
    saliency: Share = 0.5
    outline_size: Annotated[int, Field(ge=32, le=1024)] = 224
    min_overlap: Share = 0.1


class RegionSegmenter(OutliningSegmenter):
    """``OutliningSegmenter`` from REN's tokens, patches and a saliency map."""

    def __init__(
        self, ren: REN, saliency: SaliencyMaps, config: RegionConfig | None = None
    ) -> None:
        self.ren = ren
        self.config = config or RegionConfig()
        own = self.config
        self.outliner = Outliner(saliency, own.margin, own.saliency, own.min_overlap)

    def from_points(
        self, places: Sequence[Place], *, appearance: Appearance | None = None
    ) -> list[Segment | None]:
        """Segment the thing at each place, with few calls of the networks for all of them.

        Windows of several sizes each propose a mask, from a part to the whole. The mask that looks
        most like ``appearance`` is taken; without one, the mask that agrees best with the region of
        similar patches.
        """
        if not places:
            return []
        proposed = self._proposals(places)
        if appearance is not None:
            proposed = scored_by_likeness(self.ren, places, proposed, appearance)
        return [max(segments, key=lambda s: s.score, default=None) for segments in proposed]

    def from_boxes(self, images: Sequence[Image], boxes: Sequence[Boxes]) -> list[Segment | None]:
        """Segment the thing that fills each box; the box itself where no outline is found."""
        roughs = [
            Rough(image, clip_boxes(box, (image.shape[0], image.shape[1])))
            for image, box in zip(images, boxes, strict=True)
        ]
        outlines = self.outlines(roughs)
        return [_filling(r, o) for r, o in zip(roughs, outlines, strict=True)]

    def outlines(self, roughs: Sequence[Rough]) -> list[Segment | None]:
        """See ``Outliner``."""
        return self.outliner(roughs, self.config.outline_size)

    def _proposals(self, places: Sequence[Place]) -> list[list[Segment]]:
        """Different masks of the thing at each place, seen in windows of several sizes."""
        views = [
            (at, window)
            for at, p in enumerate(places)
            for window in windows_about(p, self.config.zooms)
        ]
        cells = self._regions([(places[at], window) for at, window in views])
        boxes: list[list[Boxes]] = [[] for _ in places]
        for (at, window), region in zip(views, cells, strict=True):
            rough = cells_to_box(region, window)
            if not any(_same(rough, other) for other in boxes[at]):  # it would look the same
                boxes[at].append(rough)
        roughs = [
            Rough(place.image, box, place.point_xy)
            for place, own in zip(places, boxes, strict=True)
            for box in own
        ]
        outlines = iter(self.outlines(roughs))
        return [_different([next(outlines) for _ in own]) for own in boxes]

    def _regions(self, views: Sequence[tuple[Place, Crop]]) -> list[Mask]:
        """Cells (h, w) of each window that are connected to its point's and similar to it."""
        h = w = self.ren.encoder.spec.grid
        prompts = grid_prompts(self.ren.image_size, h, "patch")
        pictures = [to_tensor(window.cut(place.image)) for place, window in views]
        masks = []
        for (place, window), found in zip(
            views, self.ren.encode(pictures, prompts, patches=True), strict=True
        ):
            x, y = window.points_to_crop(np.array(place.point_xy)) / (window.width, window.height)
            y, x = np.clip((int(y * h), int(x * w)), 0, (h - 1, w - 1))
            assert found.prompt_patches is not None
            similarity = torch.zeros(h * w)
            for vectors in (F.normalize(found.tokens, dim=1), found.prompt_patches):
                similarity += (vectors @ vectors[y * w + x]).cpu() / 2
            similar = (similarity.view(h, w) >= self.config.similarity).numpy()
            similar[y, x] = True
            labels = cv2.connectedComponents(similar.astype(np.uint8), connectivity=4)[1]
            masks.append(labels == labels[y, x])
        return masks


def _different(segments: Iterable[Segment | None]) -> list[Segment]:
    """Those that were found, each thing once."""
    kept: list[Segment] = []
    for segment in segments:
        if segment is not None and not any(_same(segment.box_xyxy, k.box_xyxy) for k in kept):
            kept.append(segment)
    return kept


def _same(a_xyxy: Boxes, b_xyxy: Boxes) -> bool:
    """Whether two boxes show one thing."""
    return float(box_iou(a_xyxy, b_xyxy)) > 0.9


def _filling(rough: Rough, outline: Segment | None) -> Segment | None:
    """The thing that fills a box: the outline near it, or else an ellipse in it."""
    size_hw, inside = (rough.image.shape[0], rough.image.shape[1]), rough.box_xyxy
    width, height = inside[2:] - inside[:2]
    if min(width, height) < 1:
        return None
    mask = np.zeros(size_hw, bool)
    x1, y1, x2, y2 = clip_boxes(expand_box(inside, 1.15), size_hw).round().astype(int)
    if outline is not None:
        mask[y1:y2, x1:x2] = outline.mask[y1:y2, x1:x2]
    mask = largest_component(mask)
    if mask.sum() < 0.1 * float(width * height):
        mask = _ellipse(inside, size_hw)
    box = mask_to_box(mask)
    return None if box is None else Segment(mask, box, 1.0)


def cells_to_box(cells: Mask, window: Crop) -> Boxes:
    """Box in frame pixels of the cells (h, w) of a window."""
    box = mask_to_box(cells)
    assert box is not None  # the cell that the region grew from is always there
    scale = np.array([window.width / cells.shape[1], window.height / cells.shape[0]] * 2)
    return window.box_to_frame((box * scale).astype(np.float32))


def _ellipse(box_xyxy: Boxes, size_hw: tuple[int, int]) -> Mask:
    mask = np.zeros(size_hw, np.uint8)
    x1, y1, x2, y2 = (float(v) for v in box_xyxy)
    centre = (int((x1 + x2) / 2), int((y1 + y2) / 2))
    cv2.ellipse(mask, centre, (int((x2 - x1) / 2), int((y2 - y1) / 2)), 0, 0, 360, 1, -1)
    return mask.astype(bool)
