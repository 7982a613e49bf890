"""Masks from a trained mask head: a point or a box becomes the thing that it means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import cv2
import numpy as np
from pydantic import Field

from ren_core.configuration import Share, configuration
from ren_core.geometry import Boxes, Mask, box_iou, clip_boxes, expand_box, mask_to_box
from ren_core.images import Image
from ren_core.mask_model import DrawnMasks, MaskModel
from ren_core.mask_prompts import MaskPrompt, Reference
from ren_core.model import REN
from vq2d.masking.appearance import scored_by_likeness
from vq2d.masking.base import Appearance, Place, Segment
from vq2d.masking.outline import OutliningSegmenter, Rough, Zooms, windows_about
from vq2d.video.crops import Crop, square_crop


@configuration(group="masks")
class MaskConfig:
    """How the mask head is asked.

    Attributes:
        head: ``"embedded"``, which ships here, or the path of another.
        zooms: Sides of the windows around a point, in shares of the frame's longer side; each
            window proposes masks.
        around: Side of the window around a box, in multiples of its longer side.
        growth: A box moved here from another frame is asked for with its sides multiplied by this,
            so that a thing can grow and a part become its whole.
        passes: Times that a mask drawn from a point is drawn again, from itself.
        speck: Parts of a mask smaller than this share of its largest are dropped.
    """

    head: str = "embedded"
    zooms: Zooms = (0.33, 0.6, 1.0)
    around: Annotated[float, Field(ge=1, le=20)] = 1.5
    growth: Annotated[float, Field(ge=1, le=10)] = 1.3
    passes: Annotated[int, Field(ge=0, le=5)] = 1
    speck: Share = 0.25


@dataclass(frozen=True, slots=True)
class _Look:
    """A question to the mask head: what it sees, and what is known, in frame pixels."""

    image: Image
    window: Crop
    box_xyxy: Boxes | None = None
    point_xy: tuple[float, float] | None = None
    mask: Mask | None = None
    reference: Reference | None = None

    def prompt(self) -> MaskPrompt:
        """What is known, in pixels of the window."""
        box, point, mask, window = self.box_xyxy, self.point_xy, self.mask, self.window
        return MaskPrompt(
            None if box is None else window.box_to_crop(box),
            None if point is None else window.points_to_crop(np.array([point], np.float32)),
            None if mask is None else window.cut_mask(mask),
            self.reference,
        )


class MaskSegmenter(OutliningSegmenter):
    """``OutliningSegmenter`` on a mask head; a segment's score is its expected IoU."""

    def __init__(self, ren: REN, model: MaskModel, config: MaskConfig | None = None) -> None:
        self.ren = ren
        self.model = model
        self.config = config or MaskConfig()

    def from_points(
        self, places: Sequence[Place], *, appearance: Appearance | None = None
    ) -> list[Segment | None]:
        """Segment the thing at each place.

        Windows of several sizes propose masks from a part to the whole; the different ones are
        drawn again in a window that fits them. The one that looks most like ``appearance`` is
        taken; without it, the one whose IoU is expected to be highest. The head reads the first of
        its pictures.
        """
        reference = self._reference(appearance)
        looks, owner = [], []
        for at, place in enumerate(places):
            for window in windows_about(place, self.config.zooms):
                looks.append(
                    _Look(place.image, window, point_xy=place.point_xy, reference=reference)
                )
                owner.append(at)
        found: list[list[Segment]] = [[] for _ in places]
        for at, segments in zip(owner, self._draw(looks, every=True), strict=True):
            found[at] = _different([*found[at], *segments])
        for _ in range(self.config.passes):
            found = self._again(places, found, reference)
        if appearance is not None:
            found = scored_by_likeness(self.ren, places, found, appearance)
        return [max(own, key=lambda s: s.score, default=None) for own in found]

    def from_boxes(self, images: Sequence[Image], boxes: Sequence[Boxes]) -> list[Segment | None]:
        """Segment the thing that fills each box; None where nothing of it is drawn."""
        return self.outlines(
            [
                Rough(image, clip_boxes(box, (image.shape[0], image.shape[1])))
                for image, box in zip(images, boxes, strict=True)
            ]
        )

    def outlines(self, roughs: Sequence[Rough]) -> list[Segment | None]:
        """The thing that fills each box: the moved one of another frame, where there is one.

        A box of patches is coarse, and a thing nearly keeps its size from frame to frame.
        """
        looks = []
        for rough in roughs:
            moved = rough.moved_xyxy
            box = rough.box_xyxy if moved is None else expand_box(moved, self.config.growth)
            looks.append(_Look(rough.image, self._around(box, rough.image), box))
        return [own[0] if own else None for own in self._draw(looks)]

    def _reference(self, appearance: Appearance | None) -> Reference | None:
        """What the head reads of an appearance: its first picture, if its own encoder saw it."""
        if appearance is None or not appearance.references:
            return None
        first = appearance.references[0]
        return first if first.encoder == self.model.encoder_name else None

    def _again(
        self,
        places: Sequence[Place],
        found: Sequence[Sequence[Segment]],
        reference: Reference | None,
    ) -> list[list[Segment]]:
        """The segments of each place, drawn again from themselves, in windows that fit them."""
        looks, owner = [], []
        for at, (place, own) in enumerate(zip(places, found, strict=True)):
            for segment in own:
                window = self._around(segment.box_xyxy, place.image)
                known = (None, place.point_xy, segment.mask, reference)
                looks.append(_Look(place.image, window, *known))
                owner.append(at)
        again: list[list[Segment]] = [[] for _ in places]
        for at, segments in zip(owner, self._draw(looks), strict=True):
            again[at] = _different([*again[at], *segments])
        return again

    def _draw(self, looks: Sequence[_Look], *, every: bool = False) -> list[list[Segment]]:
        """The best mask of each look, or every different one."""
        pictures = [np.ascontiguousarray(look.window.cut(look.image)) for look in looks]
        drawn = self.model.draw(pictures, [look.prompt() for look in looks])
        found = []
        for look, masks in zip(looks, drawn, strict=True):
            numbers = range(len(masks.expected_iou) if every else 1)
            own = [self._segment(look, masks, number) for number in numbers]
            found.append(_different([segment for segment in own if segment is not None]))
        return found

    def _segment(self, look: _Look, drawn: DrawnMasks, number: int) -> Segment | None:
        part = _without_specks(drawn.mask(number), self.config.speck)
        box = mask_to_box(part)
        if box is None:
            return None
        mask = np.zeros(look.image.shape[:2], bool)
        look.window.cut_mask(mask)[:] = part
        return Segment(mask, look.window.box_to_frame(box), float(drawn.expected_iou[number]))

    def _around(self, box: Boxes, image: Image) -> Crop:
        """The window around a box."""
        side = max(4.0, self.config.around * float((box[2:] - box[:2]).max()))
        return square_crop((box[:2] + box[2:]) / 2, side, (image.shape[0], image.shape[1]))


def _different(segments: Sequence[Segment]) -> list[Segment]:
    """Those whose box no better one has, best first."""
    kept: list[Segment] = []
    for segment in sorted(segments, key=lambda s: -s.score):
        if all(float(box_iou(segment.box_xyxy, k.box_xyxy)) < 0.85 for k in kept):
            kept.append(segment)
    return kept


def _without_specks(mask: Mask, least: float) -> Mask:
    """The mask without parts that are small beside its largest."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    if count <= 2:
        return mask
    areas = stats[:, cv2.CC_STAT_AREA].copy()
    areas[0] = 0
    kept: Mask = (areas >= least * areas.max())[labels]
    return kept
