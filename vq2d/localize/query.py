"""Stage 1, the question: vectors of an object in one frame, seen at several zooms."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ren_core.errors import DataError
from ren_core.geometry import Boxes, clip_boxes, depth_inside
from ren_core.images import Image
from vq2d.localize.colour import colour_histogram
from vq2d.localize.encode import Matcher
from vq2d.masking.base import PromptableSegmenter
from vq2d.video.crops import zoom_crop


@dataclass(frozen=True, kw_only=True, slots=True)
class QueryConfig:
    """How an object in a frame becomes vectors.

    Attributes:
        crop_factors: Zooms around the object; each gives one vector.
    """

    crop_factors: tuple[float, ...] = (1.0, 1.25, 1.5, 1.75, 2.0, 2.25, 2.5, 2.75)


@dataclass(frozen=True, slots=True)
class ObjectTokens:
    """Vectors of one object in one frame.

    Attributes:
        vectors: (K, D) unit vectors, one per zoom.
        appearance: (1, D') unit vector in the segmenter's own space; (0, D) if not asked for.
        point_xy: (2,) the point deepest inside the object, frame pixels.
        colours: (DIM,) histogram of the object's colours; (0,) if not asked for.
    """

    vectors: Tensor
    appearance: Tensor
    point_xy: NDArray[np.float32]
    colours: NDArray[np.float32]


def object_tokens(
    image: Image,
    box_xyxy: Boxes,
    matcher: Matcher,
    segmenter: PromptableSegmenter,
    config: QueryConfig,
    *,
    with_appearance: bool = True,
) -> ObjectTokens:
    """Vectors of the thing in a box of a frame.

    The thing is segmented once, in the largest zoom; its deepest point is prompted in every zoom.
    Where no mask is found the box's centre is prompted.

    Args:
        image: (H, W, 3) the frame.
        box_xyxy: (4,) frame pixels; may leave the frame.
        matcher: Gives the vectors.
        segmenter: Finds the thing's pixels.
        config: Zooms.
        with_appearance: Also describe the thing in the segmenter's space and by its colours.

    Raises:
        DataError: If the box does not touch the frame.
    """
    size_hw = (image.shape[0], image.shape[1])
    box = clip_boxes(box_xyxy, size_hw)
    if (box[2:] - box[:2]).min() <= 0:
        raise DataError(
            f"the box {np.round(box_xyxy, 1).tolist()} shows nothing of the frame of "
            f"{size_hw[1]}x{size_hw[0]} pixels; give a box (x1, y1, x2, y2) inside it"
        )
    closest = zoom_crop(box, size_hw, max(config.crop_factors))
    picture = closest.cut(image)
    segment = segmenter.from_box(picture, closest.box_to_crop(box))
    if segment is None:
        mask = np.zeros(picture.shape[:2], bool)
        x1, y1, x2, y2 = closest.box_to_crop(box).astype(int)
        mask[y1 : y2 + 1, x1 : x2 + 1] = True
    else:
        mask = segment.mask
    depth = depth_inside(mask)
    y, x = np.unravel_index(int(depth.argmax()), depth.shape)
    point = closest.points_to_frame(np.array([x + 0.5, y + 0.5]))

    crops = dict.fromkeys(zoom_crop(box, size_hw, factor) for factor in config.crop_factors)
    vectors = matcher.at_points(
        [crop.cut(image) for crop in crops], [crop.points_to_crop(point)[None] for crop in crops]
    )
    if not with_appearance:
        return ObjectTokens(vectors, vectors[:0], point, np.zeros(0, np.float32))
    appearance = segmenter.describe(picture, mask)[None]
    return ObjectTokens(vectors, appearance, point, colour_histogram(picture, mask))
