"""Stage 1, the question: vectors of an object in its pictures, seen at several zooms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from ren_core.configuration import Zoom, configuration
from ren_core.errors import DataError
from ren_core.geometry import Boxes, Mask, clip_boxes, depth_inside
from vq2d.localize.colour import colour_histogram
from vq2d.localize.models import Models
from vq2d.masking.base import Appearance
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
        appearance: To the segmenter.
        colours: (DIM,) histogram of the object's colours, the mean of the views' own.
    """

    vectors: Tensor
    appearance: Appearance
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
    seen = _segmented(views, models, config)
    pictures = [window.cut(view.picture) for view, (window, _) in zip(views, seen, strict=True)]
    masks = [mask for _, mask in seen]
    colours = [colour_histogram(*pair) for pair in zip(pictures, masks, strict=True)]
    return ObjectTokens(
        vectors=_zoomed_vectors(views, seen, models, config),
        appearance=models.segmenter.appearance_of(pictures, masks),
        colours=np.mean(colours, axis=0, dtype=np.float32),
    )


def object_vectors(views: Sequence[ObjectView], models: Models, config: QueryConfig) -> Tensor:
    """The ``vectors`` (K, D) of ``object_tokens`` alone."""
    return _zoomed_vectors(views, _segmented(views, models, config), models, config)


def _segmented(
    views: Sequence[ObjectView], models: Models, config: QueryConfig
) -> list[tuple[Crop, Mask]]:
    """The largest zoom of each view, and the thing's mask in it; its box where none is found."""
    boxes = [_box_of(view) for view in views]
    largest = max(config.crop_factors)
    windows = [
        zoom_crop(box, _size_of(view), largest) for view, box in zip(views, boxes, strict=True)
    ]
    asked = [i for i, view in enumerate(views) if view.mask is None]
    segments = models.segmenter.from_boxes(
        [windows[i].cut(views[i].picture) for i in asked],
        [windows[i].box_to_crop(boxes[i]) for i in asked],
    )
    found = dict(zip(asked, segments, strict=True))
    seen = []
    for i, (view, window) in enumerate(zip(views, windows, strict=True)):
        if view.mask is not None:
            mask = window.cut_mask(view.mask)
        else:
            segment = found[i]
            mask = _boxed(window, boxes[i]) if segment is None else segment.mask
        seen.append((window, mask))
    return seen


def _size_of(view: ObjectView) -> tuple[int, int]:
    return view.picture.shape[0], view.picture.shape[1]


def _box_of(view: ObjectView) -> Boxes:
    """The view's box inside its picture."""
    H, W = _size_of(view)
    box = clip_boxes(view.box_xyxy, (H, W))
    if (box[2:] - box[:2]).min() <= 0:
        raise DataError(
            f"the box {np.round(view.box_xyxy, 1).tolist()} shows nothing of the frame of "
            f"{W}x{H} pixels; give a box (x1, y1, x2, y2) inside it"
        )
    return box


def _boxed(window: Crop, box_xyxy: Boxes) -> Mask:
    """A box of the picture as a mask of a window."""
    mask = np.zeros(window.size_hw, bool)
    x1, y1, x2, y2 = window.box_to_crop(box_xyxy).astype(int)
    mask[y1 : y2 + 1, x1 : x2 + 1] = True
    return mask


def _deepest_point(window: Crop, mask: Mask) -> NDArray[np.float32]:
    """The point (x, y) of the picture that lies furthest inside a mask of a window."""
    depth = depth_inside(mask)
    y, x = np.unravel_index(int(depth.argmax()), depth.shape)
    return window.points_to_frame(np.array([x + 0.5, y + 0.5]))


def _zoomed_vectors(
    views: Sequence[ObjectView],
    seen: Sequence[tuple[Crop, Mask]],
    models: Models,
    config: QueryConfig,
) -> Tensor:
    """The vectors (K, D) of one point of each picture in every zoom around the view's box."""
    pictures, points = [], []
    for view, (window, mask) in zip(views, seen, strict=True):
        point_xy, box = _deepest_point(window, mask), _box_of(view)
        zooms = (zoom_crop(box, _size_of(view), factor) for factor in config.crop_factors)
        for crop in dict.fromkeys(zooms):
            pictures.append(crop.cut(view.picture))
            points.append(crop.points_to_crop(point_xy)[None])
    return models.encoder.at_points(pictures, points)
