"""Stage 1, the question: vectors of an object in one frame, seen at several zooms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from ren_core.configuration import Zoom, configuration
from ren_core.errors import DataError
from ren_core.geometry import Boxes, Mask, clip_boxes, depth_inside
from ren_core.images import Image
from vq2d.localize.colour import colour_histogram
from vq2d.localize.models import Models
from vq2d.video.crops import Crop, zoom_crop

ZOOMS = (1.0, 1.25, 1.5, 1.75, 2.0, 2.25, 2.5, 2.75)


@configuration(group="query")
class QueryConfig:
    """How an object in a frame becomes vectors.

    Attributes:
        crop_factors: Zooms around the object; each gives one vector.
    """

    crop_factors: Annotated[tuple[Zoom, ...], Field(min_length=1, max_length=32)] = ZOOMS


@dataclass(frozen=True, slots=True)
class ObjectTokens:
    """What one object in one frame looks like.

    Attributes:
        vectors: (K, D) unit vectors, one per zoom, in the space of the clip's tokens.
        appearance: (1, D') unit vector in the segmenter's own space.
        colours: (DIM,) histogram of the object's colours.
    """

    vectors: Tensor
    appearance: Tensor
    colours: NDArray[np.float32]


def object_tokens(
    image: Image, box_xyxy: Boxes, models: Models, config: QueryConfig
) -> ObjectTokens:
    """What the thing in a box of a frame looks like, to the encoder and to the segmenter.

    Args:
        image: (H, W, 3) the frame.
        box_xyxy: (4,) frame pixels; may leave the frame.
        models: Encoder and segmenter are used.
        config: Zooms.

    Raises:
        DataError: If the box does not touch the frame.
    """
    window, mask = _segmented(image, box_xyxy, models, config)
    picture = window.cut(image)
    return ObjectTokens(
        vectors=_zoomed_vectors(image, box_xyxy, _deepest_point(window, mask), models, config),
        appearance=models.segmenter.appearance_of(picture, mask)[None],
        colours=colour_histogram(picture, mask),
    )


def object_vectors(image: Image, box_xyxy: Boxes, models: Models, config: QueryConfig) -> Tensor:
    """The ``vectors`` of ``object_tokens`` alone."""
    point = _deepest_point(*_segmented(image, box_xyxy, models, config))
    return _zoomed_vectors(image, box_xyxy, point, models, config)


def _segmented(
    image: Image, box_xyxy: Boxes, models: Models, config: QueryConfig
) -> tuple[Crop, Mask]:
    """The largest zoom, and the thing's mask in it; the box itself where none is found."""
    size_hw = (image.shape[0], image.shape[1])
    box = clip_boxes(box_xyxy, size_hw)
    if (box[2:] - box[:2]).min() <= 0:
        raise DataError(
            f"the box {np.round(box_xyxy, 1).tolist()} shows nothing of the frame of "
            f"{size_hw[1]}x{size_hw[0]} pixels; give a box (x1, y1, x2, y2) inside it"
        )
    window = zoom_crop(box, size_hw, max(config.crop_factors))
    picture = window.cut(image)
    segment = models.segmenter.from_box(picture, window.box_to_crop(box))
    if segment is not None:
        return window, segment.mask
    mask = np.zeros(picture.shape[:2], bool)
    x1, y1, x2, y2 = window.box_to_crop(box).astype(int)
    mask[y1 : y2 + 1, x1 : x2 + 1] = True
    return window, mask


def _deepest_point(window: Crop, mask: Mask) -> NDArray[np.float32]:
    """The point (x, y) of the frame that lies furthest inside a mask of a window."""
    depth = depth_inside(mask)
    y, x = np.unravel_index(int(depth.argmax()), depth.shape)
    return window.points_to_frame(np.array([x + 0.5, y + 0.5]))


def _zoomed_vectors(
    image: Image,
    box_xyxy: Boxes,
    point_xy: NDArray[np.float32],
    models: Models,
    config: QueryConfig,
) -> Tensor:
    """The vector (K, D) of one point of the frame in every zoom around a box."""
    size_hw = (image.shape[0], image.shape[1])
    box = clip_boxes(box_xyxy, size_hw)
    crops = dict.fromkeys(zoom_crop(box, size_hw, factor) for factor in config.crop_factors)
    return models.encoder.at_points(
        [crop.cut(image) for crop in crops], [crop.points_to_crop(point_xy)[None] for crop in crops]
    )
