"""SAM 2 behind the protocols of ``base``: the segmenter here, the tracker in ``sam2_video``."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

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
from vq2d.masking.base import PromptableSegmenter, Segment

Look = Callable[[Image, Mask], Tensor]
"""Gives the unit vector (D,) of the masked part of an image."""

BLUR_SIZE = (3, 3)  # px, Gaussian, before a box is segmented


class Sam2Segmenter(PromptableSegmenter):
    """Turns a point or a box into a mask with SAM 2; a ``PromptableSegmenter``."""

    def __init__(self, model: Sam2Model, look: Look, *, mask_threshold: float = 0.0) -> None:
        """Wrap a loaded model.

        Args:
            model: Shared with the tracker.
            look: Feature space in which ``from_point`` compares its masks.
            mask_threshold: Logit above which a pixel belongs to the mask.
        """
        self.model = model
        self._look = look
        self._predictor = model.image_predictor(mask_threshold)
        self._embedded = b""

    def from_point(
        self, image: Image, point_xy: tuple[float, float], *, appearance: Tensor | None = None
    ) -> Segment | None:
        """Segment the thing at a point; see ``PromptableSegmenter``.

        SAM 2 offers three masks: part, whole and group. Each is reduced to its largest piece.
        The one that looks most like ``appearance`` is taken, or the one it trusts most.
        """
        check_image(image)
        prompt = {"point_coords": np.array([point_xy], np.float32), "point_labels": np.array([1])}
        offers = self._segment(image, prompt, several=True)
        if not offers:
            return None
        if appearance is None:
            return max(offers, key=lambda offer: offer.score)
        if appearance.ndim != 2 or not len(appearance):
            shape = tuple(appearance.shape)
            raise ShapeError(f"appearance must be (K, D) with K >= 1, got {shape}; or pass None")
        return max(offers, key=lambda offer: self._similarity(image, offer.mask, appearance))

    def from_box(self, image: Image, box_xyxy: Boxes) -> Segment | None:
        """Segment the thing that fills a box; None if the box lies outside the image.

        The image is blurred lightly first, as the released pipeline does.
        """
        check_image(image)
        box = clip_boxes(box_xyxy, image.shape[:2])
        if not box_area(box) > 0:
            return None
        blurred = cv2.GaussianBlur(image, BLUR_SIZE, 0).astype(np.uint8, copy=False)
        offers = self._segment(blurred, {"box": box}, several=False)
        return offers[0] if offers else None

    def appearance_of(self, image: Image, mask: Mask) -> Tensor:
        """Unit vector (D,) of the masked part of an image."""
        return self._look(image, mask)

    def _similarity(self, image: Image, mask: Mask, appearance: Tensor) -> float:
        """Highest cosine of a mask's look to any of the rows of ``appearance`` (K, D)."""
        return float((appearance @ self.appearance_of(image, mask).to(appearance)).max())

    def _segment(
        self, image: Image, prompt: dict[str, np.ndarray], *, several: bool
    ) -> list[Segment]:
        """The non-empty masks that SAM 2 offers for a prompt, each cut to its largest piece."""
        with self.model.inference():
            self._embed(image)
            masks, trusts, _ = self._predictor.predict(**prompt, multimask_output=several)
        offers = []
        for mask, trust in zip(masks > 0, trusts, strict=True):
            piece = largest_component(mask)
            box = mask_to_box(piece)
            if box is not None:
                offers.append(Segment(piece, box, float(trust)))
        return offers

    def _embed(self, image: Image) -> None:
        """Encode an image, unless its content is that of the last one."""
        image = np.array(
            image, order="C"
        )  # frames of a clip are read-only, which torch does not like
        content = hashlib.blake2b(repr(image.shape).encode(), digest_size=16)
        content.update(image.data)
        if content.digest() != self._embedded:
            self._embedded = b""  # should encoding fail, nothing is embedded
            self._predictor.set_image(image)
            self._embedded = content.digest()


def check_image(image: Image) -> None:
    """Raise ShapeError unless the image is (H, W, 3) uint8; SAM 2 takes floats silently wrong."""
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ShapeError(f"an image must be (H, W, 3) uint8 RGB, got {image.shape} {image.dtype}")
