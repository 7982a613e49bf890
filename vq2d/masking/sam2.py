"""SAM 2 behind the protocols of ``base``: the segmenter here, the tracker in ``sam2_video``."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import cv2
import numpy as np
from torch import Tensor

from ren_core.errors import ShapeError
from ren_core.geometry import (
    Boxes,
    Mask,
    box_area,
    clip_boxes,
    largest_component,
    mask_to_box,
)
from ren_core.images import Image
from ren_core.sam2.model import Sam2Model
from vq2d.masking.base import Appearance, Place, PromptableSegmenter, Segment

Look = Callable[[Sequence[Image], Sequence[Mask]], Tensor]
"""Gives unit vectors (B, D): of the masked part of each image."""

BLUR_SIZE = (3, 3)  # px, Gaussian, before a box is segmented


class Sam2Segmenter(PromptableSegmenter):
    """Turns a point or a box into a mask with SAM 2; a ``PromptableSegmenter``."""

    def __init__(self, model: Sam2Model, look: Look, *, mask_threshold: float = 0.0) -> None:
        """Wrap a loaded model.

        Args:
            model: Shared with the tracker.
            look: Feature space in which ``from_points`` compares its masks.
            mask_threshold: Logit above which a pixel belongs to the mask.
        """
        self.model = model
        self._look = look
        self._predictor = model.image_predictor(mask_threshold)
        self._embedded = b""

    def from_point(
        self, image: Image, point_xy: tuple[float, float], *, appearance: Appearance | None = None
    ) -> Segment | None:
        """See ``from_points``."""
        return self.from_points([Place(image, point_xy)], appearance=appearance)[0]

    def from_points(
        self, places: Sequence[Place], *, appearance: Appearance | None = None
    ) -> list[Segment | None]:
        """Segment the thing at each place; see ``PromptableSegmenter``.

        SAM 2 offers three masks: part, whole and group. Each is reduced to its largest piece.
        The one that looks most like ``appearance`` is taken, or the one it trusts most. An image is
        encoded once, all of its points are decoded in one call; all masks are looked at together.
        """
        of_image: dict[bytes, list[int]] = {}
        for number, place in enumerate(places):
            check_image(place.image)
            of_image.setdefault(content_of(place.image), []).append(number)
        offers: list[list[Segment]] = [[] for _ in places]
        for numbers in of_image.values():
            points = [places[n].point_xy for n in numbers]
            found = self._offers(places[numbers[0]].image, points)
            for number, own in zip(numbers, found, strict=True):
                offers[number] = own
        worth = self._worth(places, offers, appearance)
        return [
            own[int(np.argmax(values))] if own else None
            for own, values in zip(offers, worth, strict=True)
        ]

    def from_box(self, image: Image, box_xyxy: Boxes) -> Segment | None:
        """Segment the thing that fills a box; None if the box lies outside the image.

        The image is blurred lightly first, as the released pipeline does.
        """
        check_image(image)
        box = clip_boxes(box_xyxy, image.shape[:2])
        if not box_area(box) > 0:
            return None
        blurred = cv2.GaussianBlur(image, BLUR_SIZE, 0).astype(np.uint8, copy=False)
        (offers,) = self._segment(blurred, {"box": box}, several=False)
        return offers[0] if offers else None

    def appearance_of(self, images: Sequence[Image], masks: Sequence[Mask]) -> Appearance:
        """Unit vectors of the masked parts of images."""
        return Appearance(self._look(images, masks))

    def _worth(
        self,
        places: Sequence[Place],
        offers: Sequence[Sequence[Segment]],
        appearance: Appearance | None,
    ) -> list[list[float]]:
        """What decides among the offers of each place: SAM 2's trust, or a look like the wanted."""
        if appearance is None or not any(offers):
            return [[offer.score for offer in own] for own in offers]
        images = [place.image for place, own in zip(places, offers, strict=True) for _ in own]
        looks = self._look(images, [offer.mask for own in offers for offer in own])
        wanted = appearance.vectors
        alike = iter((looks.to(wanted) @ wanted.T).amax(dim=1).tolist())
        return [[next(alike) for _ in own] for own in offers]

    def _offers(
        self, image: Image, points_xy: Sequence[tuple[float, float]]
    ) -> list[list[Segment]]:
        """The masks that SAM 2 offers for each of some points of an image."""
        prompt = {
            "point_coords": np.array(points_xy, np.float32)[:, None],
            "point_labels": np.ones((len(points_xy), 1), np.int32),
        }
        return self._segment(image, prompt, several=True)

    def _segment(
        self, image: Image, prompt: dict[str, np.ndarray], *, several: bool
    ) -> list[list[Segment]]:
        """The non-empty masks offered for each of some prompts, each cut to its largest piece."""
        with self.model.inference():
            self._embed(image)
            masks, trusts, _ = self._predictor.predict(**prompt, multimask_output=several)
        count = 3 if several else 1  # masks of a prompt; one prompt alone comes without its axis
        per_prompt = masks.reshape(-1, count, *image.shape[:2]) > 0
        return [
            [
                Segment(piece, box, float(trust))
                for piece, trust in zip(map(largest_component, own), trusted, strict=True)
                if (box := mask_to_box(piece)) is not None
            ]
            for own, trusted in zip(per_prompt, trusts.reshape(-1, count), strict=True)
        ]

    def _embed(self, image: Image) -> None:
        """Encode an image, unless its content is that of the last one."""
        content = content_of(image)
        if content != self._embedded:
            self._embedded = b""  # should encoding fail, nothing is embedded
            # a copy: frames of a clip are read-only, which torch does not like
            self._predictor.set_image(np.array(image, order="C"))
            self._embedded = content


def content_of(image: Image) -> bytes:
    """A digest of the size and the pixels of an image."""
    content = hashlib.blake2b(repr(image.shape).encode(), digest_size=16)
    content.update(np.ascontiguousarray(image).data)
    return content.digest()


def check_image(image: Image) -> None:
    """Raise ShapeError unless the image is (H, W, 3) uint8; SAM 2 takes floats silently wrong."""
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ShapeError(f"an image must be (H, W, 3) uint8 RGB, got {image.shape} {image.dtype}")
