"""Stage 1, the question: vectors of an object in its pictures, seen at several zooms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from ren_core.configuration import Zoom, configuration
from ren_core.errors import DataError
from ren_core.geometry import Mask, clip_boxes, depth_inside
from vq2d.localize.colour import colour_histogram
from vq2d.localize.models import Models
from vq2d.types import ObjectView
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
    """What one object looks like in V views of it.

    Attributes:
        vectors: (K, D) unit vectors, one per zoom of each view, in the space of the clip's tokens.
        appearance: (V, D') unit vectors in the segmenter's own space.
        colours: (DIM,) histogram of the object's colours, the mean of the views' own.
    """

    vectors: Tensor
    appearance: Tensor
    colours: NDArray[np.float32]


def object_tokens(views: Sequence[ObjectView], models: Models, config: QueryConfig) -> ObjectTokens:
    """What a thing looks like in some pictures, to the encoder and to the segmenter.

    Args:
        views: At least one; where a view brings no mask, the segmenter finds it.
        models: Encoder and segmenter are used.
        config: Zooms.

    Raises:
        DataError: If a box does not touch its picture.
    """
    vectors, appearance, colours = [], [], []
    for view in views:
        window, mask = _segmented(view, models, config)
        picture = window.cut(view.picture)
        vectors.append(_zoomed_vectors(view, _deepest_point(window, mask), models, config))
        appearance.append(models.segmenter.appearance_of(picture, mask))
        colours.append(colour_histogram(picture, mask))
    return ObjectTokens(
        vectors=torch.cat(vectors),
        appearance=torch.stack(appearance),
        colours=np.mean(colours, axis=0, dtype=np.float32),
    )


def object_vectors(view: ObjectView, models: Models, config: QueryConfig) -> Tensor:
    """The ``vectors`` (K, D) of ``object_tokens`` alone, of one view."""
    return _zoomed_vectors(view, _deepest_point(*_segmented(view, models, config)), models, config)


def _segmented(view: ObjectView, models: Models, config: QueryConfig) -> tuple[Crop, Mask]:
    """The largest zoom, and the thing's mask in it; the box itself where none is found."""
    size_hw = (view.picture.shape[0], view.picture.shape[1])
    box = clip_boxes(view.box_xyxy, size_hw)
    if (box[2:] - box[:2]).min() <= 0:
        raise DataError(
            f"the box {np.round(view.box_xyxy, 1).tolist()} shows nothing of the frame of "
            f"{size_hw[1]}x{size_hw[0]} pixels; give a box (x1, y1, x2, y2) inside it"
        )
    window = zoom_crop(box, size_hw, max(config.crop_factors))
    if view.mask is not None:
        return window, window.cut_mask(view.mask)
    picture = window.cut(view.picture)
    segment = models.segmenter.from_box(picture, window.box_to_crop(box))
    if segment is not None:
        return window, segment.mask
    mask = np.zeros(picture.shape[:2], bool)
    x1, y1, x2, y2 = window.box_to_crop(box).astype(int)
    mask[y1 : y2 + 1, x1 : x2 + 1] = True
    return window, mask


def _deepest_point(window: Crop, mask: Mask) -> NDArray[np.float32]:
    """The point (x, y) of the picture that lies furthest inside a mask of a window."""
    depth = depth_inside(mask)
    y, x = np.unravel_index(int(depth.argmax()), depth.shape)
    return window.points_to_frame(np.array([x + 0.5, y + 0.5]))


def _zoomed_vectors(
    view: ObjectView, point_xy: NDArray[np.float32], models: Models, config: QueryConfig
) -> Tensor:
    """The vector (K, D) of one point of the picture in every zoom around the view's box."""
    size_hw = (view.picture.shape[0], view.picture.shape[1])
    box = clip_boxes(view.box_xyxy, size_hw)
    crops = dict.fromkeys(zoom_crop(box, size_hw, factor) for factor in config.crop_factors)
    return models.encoder.at_points(
        [crop.cut(view.picture) for crop in crops],
        [crop.points_to_crop(point_xy)[None] for crop in crops],
    )
