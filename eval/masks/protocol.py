"""Things with a known place, ways of pointing at them, and what is asked of methods.

A method is anything that makes masks of boxes, of points, or of both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from ren_core.errors import ShapeError
from ren_core.geometry import Boxes, Mask, box_area, clip_boxes, mask_to_box
from ren_core.images import Image

PromptKind = Literal["box", "loose", "point", "edge", "found"]
BoxKind = Literal["box", "loose"]
PointKind = Literal["point", "edge", "found"]

Point = tuple[float, float]
"""(x, y) in pixels of an image; the centre of its first pixel is (0.5, 0.5)."""


@dataclass(frozen=True, slots=True)
class Sight:
    """A thing in another picture (H, W, 3), in a box (4,) around it."""

    image: Image
    box_xyxy: Boxes


@dataclass(frozen=True, slots=True)
class Thing:
    """A thing in a picture.

    Attributes:
        name: Unique in its set.
        group: What it shares its picture or video with.
        image: (H, W, 3) uint8 RGB.
        box_xyxy: (4,) its true box, inside the picture.
        mask: (H, W) its true pixels; None where only the box is known.
        elsewhere: What it looks like in another picture, such as a query; None if there is none.
    """

    name: str
    group: str
    image: Image
    box_xyxy: Boxes
    mask: Mask | None = None
    elsewhere: Sight | None = None

    def __post_init__(self) -> None:
        if self.mask is not None and self.mask.shape != self.image.shape[:2]:
            raise ShapeError(
                f"the mask of {self.name} must have its picture's shape {self.image.shape[:2]}, "
                f"got {self.mask.shape}"
            )

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width of the picture in pixels."""
        return self.image.shape[0], self.image.shape[1]


@dataclass(frozen=True, slots=True)
class BoxPrompt:
    """A thing, pointed at by a box (4,)."""

    kind: BoxKind
    thing: Thing
    box_xyxy: Boxes


@dataclass(frozen=True, slots=True)
class PointPrompt:
    """A thing, pointed at by a point."""

    kind: PointKind
    thing: Thing
    point_xy: Point


Prompt = BoxPrompt | PointPrompt


@dataclass(frozen=True, slots=True)
class MaskAnswer:
    """What a method says.

    Attributes:
        mask: (H, W).
        box_xyxy: (4,) around it.
        expected_iou: The IoU with the true mask that the method expects; None if it does not say.
    """

    mask: Mask
    box_xyxy: Boxes
    expected_iou: float | None = None


FromBoxes = Callable[[Sequence[Image], Sequence[Boxes]], Sequence[MaskAnswer | None]]
"""An answer for each image and its box."""
FromPoints = Callable[[Sequence[Image], Sequence[Point]], Sequence[MaskAnswer | None]]
"""An answer for each image and its point."""
FromSeen = Callable[[Sequence[PointPrompt]], Sequence[MaskAnswer | None]]
"""An answer for each point, by what its thing looks like elsewhere."""


@dataclass(frozen=True, slots=True)
class Method:
    """Something that makes masks.

    Attributes:
        name: In tables.
        from_boxes: None if it takes no boxes.
        from_points: None if it takes no points.
        from_seen: In place of both; takes points on things that are seen elsewhere.
    """

    name: str
    from_boxes: FromBoxes | None = None
    from_points: FromPoints | None = None
    from_seen: FromSeen | None = None

    def takes(self, prompt: Prompt) -> bool:
        """Whether it answers prompts of this form."""
        if self.from_seen is not None:
            return isinstance(prompt, PointPrompt) and prompt.thing.elsewhere is not None
        by_box = isinstance(prompt, BoxPrompt)
        return (self.from_boxes if by_box else self.from_points) is not None

    def answer(self, prompts: Sequence[Prompt]) -> Sequence[MaskAnswer | None]:
        """The answer to each prompt; all of them have one form, which it takes."""
        images = [prompt.thing.image for prompt in prompts]
        boxes = [prompt.box_xyxy for prompt in prompts if isinstance(prompt, BoxPrompt)]
        if boxes:
            assert self.from_boxes is not None
            return self.from_boxes(images, boxes)
        points = [prompt for prompt in prompts if isinstance(prompt, PointPrompt)]
        if self.from_seen is not None:
            return self.from_seen(points)
        assert self.from_points is not None
        return self.from_points(images, [point.point_xy for point in points])


def thing_of_mask(name: str, group: str, image: Image, mask: Mask) -> Thing | None:
    """The thing of a mask (H, W), in the box around it; None if the mask is empty."""
    box = mask_to_box(mask)
    return None if box is None else Thing(name, group, image, box, mask)


def thing_of_box(name: str, group: str, image: Image, box_xyxy: Boxes) -> Thing | None:
    """The thing of a box (4,), of which the part in the picture counts; None if there is none."""
    inside = clip_boxes(box_xyxy, (image.shape[0], image.shape[1]))
    return Thing(name, group, image, inside) if float(box_area(inside)) > 0 else None


def answer_of(mask: Mask) -> MaskAnswer | None:
    """The answer of a mask (H, W); None if it is empty."""
    box = mask_to_box(mask)
    return None if box is None else MaskAnswer(mask, box)
