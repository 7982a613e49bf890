"""Masks from REN's regions and a small saliency network, where no SAM 2 checkpoint is at hand.

A point's region is found on the patch grid of a zoomed window, by similarity to the point; the
saliency network then draws the outline in the crop around it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

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
from ren_core.regions import mask_on_grid
from vq2d.masking.base import Segment
from vq2d.video.crops import Crop, square_crop

SaliencyMap = Callable[[Image, int], NDArray[np.float32]]
"""Saliency (H, W) in 0..1 of an image (H, W, 3), seen by the network at a side in pixels."""

OutlineSize = Annotated[int, Field(ge=32, le=1024)]  # px
_Window = Annotated[float, Field(gt=0, le=1)]


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

    zooms: Annotated[tuple[_Window, ...], Field(min_length=1, max_length=32)] = (0.33, 0.6, 1.0)
    similarity: Cosine = 0.4
    margin: Annotated[float, Field(ge=0, le=10)] = 0.4
    saliency: Share = 0.5
    outline_size: OutlineSize = 224
    min_overlap: Share = 0.1


class RegionSegmenter:
    """``PromptableSegmenter`` from REN's tokens, patches and a saliency map."""

    def __init__(self, ren: REN, saliency: SaliencyMap, config: RegionConfig | None = None) -> None:
        self.ren = ren
        self.saliency = saliency
        self.config = config or RegionConfig()

    def from_point(
        self, image: Image, point_xy: tuple[float, float], *, appearance: Tensor | None = None
    ) -> Segment | None:
        """Segment the thing at a point.

        Windows of several sizes each propose a mask, from a part to the whole. The mask that looks
        most like ``appearance`` is taken; without one, the mask that agrees best with the region of
        similar patches.
        """
        longer, size_hw = max(image.shape[:2]), (image.shape[0], image.shape[1])
        windows = dict.fromkeys(
            square_crop(point_xy, share * longer, size_hw) for share in self.config.zooms
        )
        proposals: list[Segment] = []
        for window in windows:
            region = self._region(window.cut(image), window.points_to_crop(np.array(point_xy)))
            segment = self.outline(image, cells_to_box(region, window), point_xy)
            if segment is None or any(_same(segment, other) for other in proposals):
                continue
            if appearance is not None:
                own = self.appearance_of(image, segment.mask)
                likeness = float((appearance @ own).max())
                segment = Segment(segment.mask, segment.box_xyxy, likeness)
            proposals.append(segment)
        return max(proposals, key=lambda s: s.score, default=None)

    def from_box(self, image: Image, box_xyxy: Boxes) -> Segment | None:
        """Segment the thing that fills a box; the box itself where no outline is found."""
        H, W = image.shape[:2]
        inside = clip_boxes(box_xyxy, (H, W))
        if (inside[2:] - inside[:2]).min() < 1:
            return None
        segment = self.outline(image, inside, None)
        limits = clip_boxes(expand_box(inside, 1.15), (H, W)).round().astype(int)
        mask = np.zeros((H, W), bool)
        x1, y1, x2, y2 = limits
        if segment is not None:
            mask[y1:y2, x1:x2] = segment.mask[y1:y2, x1:x2]
        mask = largest_component(mask)
        area = float((inside[2] - inside[0]) * (inside[3] - inside[1]))
        if mask.sum() < 0.1 * area:
            mask = _ellipse(inside, (H, W))
        box = mask_to_box(mask)
        return None if box is None else Segment(mask, box, 1.0)

    def appearance_of(self, image: Image, mask: Mask) -> Tensor:
        """See ``pooled_appearance``."""
        return pooled_appearance(self.ren, image, mask)

    def outline(
        self,
        image: Image,
        box_xyxy: Boxes,
        point_xy: tuple[float, float] | None,
        *,
        outline_size: int | None = None,
    ) -> Segment | None:
        """The salient thing in the crop around a rough box (at a point, if given).

        Its score is the share (IoU) in which saliency and rough box agree. Where they disagree, the
        box is taken; where nothing is salient, the score is 0. ``outline_size`` replaces the
        configured one.
        """
        H, W = image.shape[:2]
        around = clip_boxes(expand_box(box_xyxy, 1 + 2 * self.config.margin), (H, W))
        x1, y1 = np.floor(around[:2]).astype(int)
        x2, y2 = np.ceil(around[2:]).astype(int)
        if x2 - x1 < 2 or y2 - y1 < 2:
            return None
        window = Crop(int(x1), int(y1), int(x2 - x1), int(y2 - y1))
        size = outline_size or self.config.outline_size
        picture = np.ascontiguousarray(window.cut(image))
        salient = self.saliency(picture, size) > self.config.saliency
        rough = np.zeros_like(salient)
        a = np.clip(window.box_to_crop(box_xyxy).round().astype(int), 0, None)
        rough[a[1] : a[3], a[0] : a[2]] = True
        part = _component(salient, rough, window, point_xy)
        union = (part | rough).sum()
        if union == 0:
            return None
        agreement = float((part & rough).sum() / union)
        if agreement < self.config.min_overlap:
            part = rough
        mask = np.zeros((H, W), bool)
        window.cut_mask(mask)[:] = part
        box = mask_to_box(mask)
        return None if box is None else Segment(mask, box, agreement)

    def _region(self, picture: Image, point_xy: NDArray[np.float32]) -> Mask:
        """Cells (h, w) of a window connected to the point's and similar to it."""
        h = w = self.ren.encoder.spec.grid
        prompts = grid_prompts(self.ren.image_size, h, "patch")
        (regions,) = self.ren.encode([to_tensor(picture)], prompts, patches=True)
        tokens, patches = regions.tokens, regions.prompt_patches
        assert patches is not None
        y = int(np.clip(point_xy[1] / picture.shape[0] * h, 0, h - 1))
        x = int(np.clip(point_xy[0] / picture.shape[1] * w, 0, w - 1))
        similarity = torch.zeros(h * w)
        for vectors in (F.normalize(tokens, dim=1), patches):
            similarity += (vectors @ vectors[y * w + x]).cpu() / 2
        similar = (similarity.view(h, w) >= self.config.similarity).numpy()
        similar[y, x] = True
        labels = cv2.connectedComponents(similar.astype(np.uint8), connectivity=4)[1]
        cells: Mask = labels == labels[y, x]
        return cells


def pooled_appearance(ren: REN, image: Image, mask: Mask) -> Tensor:
    """Mean patch feature (D,) of the masked part, seen in a window around it; a unit vector."""
    size_hw = (image.shape[0], image.shape[1])
    box = mask_to_box(mask)
    if box is None:
        box = np.array([0, 0, size_hw[1], size_hw[0]], np.float32)
    side = 2 * float((box[2:] - box[:2]).max())
    window = square_crop((box[:2] + box[2:]) / 2, side, size_hw)
    features = ren.patch_features([to_tensor(window.cut(image))]).features[0].float()
    share = torch.from_numpy(
        mask_on_grid(window.cut_mask(mask), (features.shape[1], features.shape[2]))
    ).to(features)
    weight = share if bool((share > 0).any()) else torch.ones_like(share)
    return F.normalize((features * weight).sum(dim=(1, 2)), dim=0)


def _same(a: Segment, b: Segment) -> bool:
    """Whether two masks are one thing."""
    return float(box_iou(a.box_xyxy, b.box_xyxy)) > 0.9


def _component(
    salient: Mask, rough: Mask, window: Crop, point_xy: tuple[float, float] | None
) -> Mask:
    """The salient part at the point, or else the one that overlaps the rough box most."""
    labels = cv2.connectedComponents(salient.astype(np.uint8))[1]
    if point_xy is not None:
        x, y = window.points_to_crop(np.array(point_xy)).astype(int)
        x, y = np.clip([x, y], 0, [window.width - 1, window.height - 1])
        if labels[y, x]:
            at_point: Mask = labels == labels[y, x]
            return at_point
    counts = np.bincount(labels[rough], minlength=labels.max() + 1)
    counts[0] = 0
    if counts.max() == 0:
        return np.zeros_like(salient)
    largest: Mask = labels == counts.argmax()
    return largest


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
