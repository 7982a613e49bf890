"""Methods without a trained outline: the bound below which none is worth its time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from eval.masks.protocol import FromBoxes, MaskAnswer, Point, answer_of
from ren_core.geometry import Boxes, Mask, box_to_mask, clip_boxes, expand_box, square_window
from ren_core.images import Image, to_tensor
from ren_core.model import REN

WINDOW = 2.0  # side of what GrabCut sees, in sides of the box
ITERATIONS = 5
MIN_FILLED = 0.25  # of the box: an outline that covers no more of it is not believed
MIN_SPAN = 0.6  # of the box's side: an outline whose box is shorter is not believed
SHARE, SIMILARITY = 0.6, 0.2  # of a region of patches: the best of nine on davis_dev, coco_held

Window = tuple[slice, slice]
"""Rows and columns of an image."""


def filled(images: Sequence[Image], boxes: Sequence[Boxes]) -> list[MaskAnswer | None]:
    """Each box is its own mask."""
    return [
        answer_of(box_to_mask(box, (image.shape[0], image.shape[1])))
        for image, box in zip(images, boxes, strict=True)
    ]


def grabcut(images: Sequence[Image], boxes: Sequence[Boxes]) -> list[MaskAnswer | None]:
    """GrabCut's foreground in each box, learnt against a window twice as large.

    A box that fills its window is the answer itself: there is nothing to learn against.
    """
    return [_grabcut(*pair) for pair in zip(images, boxes, strict=True)]


def gated(first: FromBoxes, second: FromBoxes) -> FromBoxes:
    """The first method's answers where they fill their box, else the second one's if it has any."""

    def answer(images: Sequence[Image], boxes: Sequence[Boxes]) -> list[MaskAnswer | None]:
        found = list(first(images, boxes))
        doubted = [i for i, box in enumerate(boxes) if not fills(found[i], box)]
        others = second([images[i] for i in doubted], [boxes[i] for i in doubted])
        for i, other in zip(doubted, others, strict=True):
            found[i] = other or found[i]
        return found

    return answer


def fills(answer: MaskAnswer | None, box_xyxy: Boxes) -> bool:
    """Whether an answer covers enough of a box (4,), and spans it in both directions."""
    if answer is None:
        return False
    inside = box_to_mask(box_xyxy, (answer.mask.shape[0], answer.mask.shape[1]))
    covered = (answer.mask & inside).sum() / max(int(inside.sum()), 1)
    spans = (answer.box_xyxy[2:] - answer.box_xyxy[:2]) / (box_xyxy[2:] - box_xyxy[:2])
    return bool(covered > MIN_FILLED and spans.min() > MIN_SPAN)


@dataclass(frozen=True, slots=True)
class PatchRegions:
    """Cells around a point that look like it, in a window about it.

    Attributes:
        ren: Gives the patches.
        share: Side of the square window, in shares of the image's longer side.
        similarity: Least cosine to the patch at the point.
    """

    ren: REN
    share: float = SHARE
    similarity: float = SIMILARITY

    def __call__(
        self, images: Sequence[Image], points_xy: Sequence[Point]
    ) -> list[MaskAnswer | None]:
        """The cells of each point, connected to it."""
        windows = [self._window(*pair) for pair in zip(images, points_xy, strict=True)]
        pictures = [to_tensor(image[w]) for image, w in zip(images, windows, strict=True)]
        features = self.ren.patch_features(pictures).features
        answers = []
        for image, point, window, patches in zip(images, points_xy, windows, features, strict=True):
            cells = similar_cells(patches, _cell(point, window, patches), self.similarity)
            mask = np.zeros(image.shape[:2], bool)
            view = mask[window]
            view[:] = cv2.resize(
                cells.astype(np.uint8), view.shape[::-1], interpolation=cv2.INTER_NEAREST
            )
            answers.append(answer_of(mask))
        return answers

    def _window(self, image: Image, point_xy: Point) -> Window:
        size_hw = (image.shape[0], image.shape[1])
        return square_window(point_xy, self.share * max(size_hw), size_hw)


def similar_cells(patches: Tensor, cell_yx: tuple[int, int], similarity: float) -> Mask:
    """Cells (h, w) that look like one of them and are connected to it.

    Args:
        patches: (D, h, w).
        cell_yx: The one.
        similarity: Least cosine.
    """
    unit = F.normalize(patches.float(), dim=0)
    y, x = cell_yx
    cosine = torch.einsum("dhw,d->hw", unit, unit[:, y, x]).cpu()
    similar = (cosine >= similarity).numpy()
    similar[y, x] = True
    labels = cv2.connectedComponents(similar.astype(np.uint8), connectivity=4)[1]
    connected: Mask = labels == labels[y, x]
    return connected


def _rounded(box_xyxy: Boxes, size_hw: tuple[int, int]) -> Window:
    x1, y1, x2, y2 = (int(v) for v in clip_boxes(box_xyxy, size_hw).round())
    return slice(y1, y2), slice(x1, x2)


def _cell(point_xy: Point, window: Window, patches: Tensor) -> tuple[int, int]:
    """Row and column of the cell of patches (D, h, w) that holds a point of the image."""
    places = []
    for at, span, cells in zip(point_xy[::-1], window, patches.shape[1:], strict=True):
        share = (at - span.start) / (span.stop - span.start)
        places.append(int(np.clip(int(share * cells), 0, cells - 1)))
    return places[0], places[1]


def _grabcut(image: Image, box_xyxy: Boxes) -> MaskAnswer | None:
    size_hw = (image.shape[0], image.shape[1])
    inside = box_to_mask(box_xyxy, size_hw)
    window = _rounded(expand_box(box_xyxy, WINDOW), size_hw)
    if not inside.any() or inside[window].all():
        return answer_of(inside)
    labels = np.where(inside[window], cv2.GC_PR_FGD, cv2.GC_BGD).astype(np.uint8)
    cv2.setRNGSeed(0)
    picture = np.ascontiguousarray(image[window])
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(picture, labels, None, *models, ITERATIONS, cv2.GC_INIT_WITH_MASK)
    mask = np.zeros(size_hw, bool)
    mask[window] = (labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)
    return answer_of(mask)
