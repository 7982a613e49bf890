"""The outline of the salient thing in the crop around a rough box."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ren_core.geometry import Boxes, Mask, clip_boxes, expand_box, mask_to_box
from ren_core.images import Image
from ren_core.model import REN
from vq2d.masking.appearance import appearance_of
from vq2d.masking.base import Appearance, Place, PromptableSegmenter, Segment
from vq2d.video.crops import Crop, square_crop

Zooms = Annotated[
    tuple[Annotated[float, Field(gt=0, le=1)], ...], Field(min_length=1, max_length=32)
]
"""Sides of windows around a point, in shares of the frame's longer side."""

SaliencyMaps = Callable[[Sequence[Image], int], list[NDArray[np.float32]]]
"""Saliency (H, W) in 0..1 of each image (H, W, 3), seen by the network at a side in pixels."""


@dataclass(frozen=True, slots=True)
class Rough:
    """Where a thing roughly is in an image (H, W, 3).

    Attributes:
        image: RGB.
        box_xyxy: (4,) pixels, around patches that are like it.
        point_xy: A point of the thing, if one is known.
        moved_xyxy: (4,) pixels: its box in another frame, moved to those patches; None if there is
            no other frame.
    """

    image: Image
    box_xyxy: Boxes
    point_xy: tuple[float, float] | None = None
    moved_xyxy: Boxes | None = None


class OutliningSegmenter(PromptableSegmenter):
    """A segmenter that also draws outlines of what is roughly known, for a tracker.

    Attributes:
        ren: Gives the patches by which things are found again.
    """

    ren: REN

    def from_point(
        self, image: Image, point_xy: tuple[float, float], *, appearance: Appearance | None = None
    ) -> Segment | None:
        """See ``from_points``."""
        return self.from_points([Place(image, point_xy)], appearance=appearance)[0]

    def from_box(self, image: Image, box_xyxy: Boxes) -> Segment | None:
        """See ``from_boxes``."""
        return self.from_boxes([image], [box_xyxy])[0]

    def appearance_of(self, images: Sequence[Image], masks: Sequence[Mask]) -> Appearance:
        """See the function of that name."""
        return appearance_of(self.ren, images, masks)

    @abstractmethod
    def from_points(
        self, places: Sequence[Place], *, appearance: Appearance | None = None
    ) -> list[Segment | None]:
        """See ``PromptableSegmenter``."""

    @abstractmethod
    def from_boxes(self, images: Sequence[Image], boxes: Sequence[Boxes]) -> list[Segment | None]:
        """See ``PromptableSegmenter``."""

    @abstractmethod
    def outlines(self, roughs: Sequence[Rough]) -> list[Segment | None]:
        """The thing of each rough place; None where nothing of it is found."""


def windows_about(place: Place, zooms: Sequence[float]) -> list[Crop]:
    """The different square windows around a place.

    Args:
        place: Their middle, as far as they can lie inside the image.
        zooms: Their sides, in shares of the image's longer side.
    """
    size_hw = (place.image.shape[0], place.image.shape[1])
    sides = [share * max(size_hw) for share in zooms]
    return list(dict.fromkeys(square_crop(place.point_xy, side, size_hw) for side in sides))


@dataclass(frozen=True, slots=True)
class Outliner:
    """Draws outlines with a saliency network.

    Attributes:
        saliency: The network.
        margin: It sees the rough box plus this share of it on every side.
        threshold: Pixels of a higher saliency belong to the thing.
        min_overlap: An outline whose IoU with the rough box is lower is replaced by that box.
    """

    saliency: SaliencyMaps
    margin: float
    threshold: float
    min_overlap: float

    def __call__(self, roughs: Sequence[Rough], side: int) -> list[Segment | None]:
        """The salient thing around each rough box (at its point, if given).

        Its score is the share (IoU) in which saliency and rough box agree. Where they disagree, the
        box is taken; where nothing is salient, the score is 0.

        Args:
            roughs: Where to look.
            side: Pixels of the square at which the network sees a crop.
        """
        windows = [self._window(rough) for rough in roughs]
        shown = [(r, w) for r, w in zip(roughs, windows, strict=True) if w is not None]
        pictures = [np.ascontiguousarray(window.cut(rough.image)) for rough, window in shown]
        maps = iter(self.saliency(pictures, side))
        return [
            None if window is None else self._segment(rough, window, next(maps))
            for rough, window in zip(roughs, windows, strict=True)
        ]

    def _window(self, rough: Rough) -> Crop | None:
        """What the network sees; None if that is no picture."""
        size_hw = (rough.image.shape[0], rough.image.shape[1])
        around = clip_boxes(expand_box(rough.box_xyxy, 1 + 2 * self.margin), size_hw)
        x1, y1 = np.floor(around[:2]).astype(int)
        x2, y2 = np.ceil(around[2:]).astype(int)
        if x2 - x1 < 2 or y2 - y1 < 2:
            return None
        return Crop(int(x1), int(y1), int(x2 - x1), int(y2 - y1))

    def _segment(self, rough: Rough, window: Crop, saliency: NDArray[np.float32]) -> Segment | None:
        salient = saliency > self.threshold
        boxed = np.zeros_like(salient)
        x1, y1, x2, y2 = np.clip(window.box_to_crop(rough.box_xyxy).round().astype(int), 0, None)
        boxed[y1:y2, x1:x2] = True
        part = _component(salient, boxed, window, rough.point_xy)
        union = (part | boxed).sum()
        if union == 0:
            return None
        agreement = float((part & boxed).sum() / union)
        if agreement < self.min_overlap:
            part = boxed
        inside = mask_to_box(part)
        if inside is None:
            return None
        mask = np.zeros(rough.image.shape[:2], bool)
        window.cut_mask(mask)[:] = part
        return Segment(mask, window.box_to_frame(inside), agreement)


def _component(
    salient: Mask, boxed: Mask, window: Crop, point_xy: tuple[float, float] | None
) -> Mask:
    """The salient part at the point, or else the one that overlaps the rough box most."""
    labels = cv2.connectedComponents(salient.astype(np.uint8))[1]
    if point_xy is not None:
        x, y = window.points_to_crop(np.array(point_xy)).astype(int)
        x, y = np.clip([x, y], 0, [window.width - 1, window.height - 1])
        if labels[y, x]:
            at_point: Mask = labels == labels[y, x]
            return at_point
    counts = np.bincount(labels[boxed], minlength=labels.max() + 1)
    counts[0] = 0
    if counts.max() == 0:
        return np.zeros_like(salient)
    largest: Mask = labels == counts.argmax()
    return largest
