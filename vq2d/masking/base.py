"""What a segmenter and a tracker must offer; SAM 2 gives one of each, REN's regions another."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from ren_core.errors import ShapeError
from ren_core.geometry import Boxes, Mask
from ren_core.images import Image
from ren_core.mask_prompts import Reference
from vq2d.types import FrameSource


@dataclass(frozen=True, slots=True)
class Segment:
    """A mask (H, W) of the given image, its half-open box, and the segmenter's confidence."""

    mask: Mask
    box_xyxy: Boxes
    score: float


@dataclass(frozen=True, slots=True)
class TrackStep:
    """Where a tracked object is in one frame."""

    frame_idx: int
    box_xyxy: Boxes
    score: float


@dataclass(frozen=True, slots=True)
class Place:
    """A point (x, y), in pixels, of an RGB image (H, W, 3)."""

    image: Image
    point_xy: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Appearance:
    """What a thing looks like in V pictures.

    Attributes:
        vectors: (V, D) unit vectors in the segmenter's own feature space.
        references: The pictures for a mask head that reads one; empty for other segmenters.
    """

    vectors: Tensor
    references: tuple[Reference, ...] = ()

    def __post_init__(self) -> None:
        if self.vectors.ndim != 2 or not len(self.vectors):
            shape = tuple(self.vectors.shape)
            raise ShapeError(f"an appearance must be (V, D) with V >= 1, got {shape}")


class PromptableSegmenter(ABC):
    """Turns a point or a box into a mask; results are None where no mask is found."""

    @abstractmethod
    def from_point(
        self, image: Image, point_xy: tuple[float, float], *, appearance: Appearance | None = None
    ) -> Segment | None:
        """Segment the thing at a point of an RGB image.

        Args:
            image: (H, W, 3) uint8 RGB.
            point_xy: (x, y) in pixels of the image.
            appearance: From ``appearance_of``; among several masks, the one most similar to any
                of its pictures is taken.
        """

    @abstractmethod
    def from_box(self, image: Image, box_xyxy: Boxes) -> Segment | None:
        """Segment the thing that fills a box (may leave the image)."""

    @abstractmethod
    def appearance_of(self, images: Sequence[Image], masks: Sequence[Mask]) -> Appearance:
        """What the masked parts (H, W) of at least one image look like to the segmenter."""

    def from_points(
        self, places: Sequence[Place], *, appearance: Appearance | None = None
    ) -> list[Segment | None]:
        """``from_point`` of each place; together where that is faster."""
        return [self.from_point(p.image, p.point_xy, appearance=appearance) for p in places]

    def from_boxes(self, images: Sequence[Image], boxes: Sequence[Boxes]) -> list[Segment | None]:
        """``from_box`` of each image and box; together where that is faster."""
        return [self.from_box(*pair) for pair in zip(images, boxes, strict=True)]


class VideoTracker(ABC):
    """Follows one object from a box, frame by frame, until it disappears."""

    @abstractmethod
    def track(
        self, frames: FrameSource, start_frame: int, box_xyxy: Boxes, stop_frame: int
    ) -> Iterator[TrackStep]:
        """Yield consecutive steps from ``start_frame`` (included) to ``stop_frame`` (excluded).

        Runs backwards in time when ``stop_frame < start_frame`` (then ``stop_frame`` may be -1).
        Ends early at the first frame where the object is not found. Memory does not grow with
        the number of frames.
        """

    def track_both(
        self, frames: FrameSource, start_frame: int, box_xyxy: Boxes, stop_frames: tuple[int, int]
    ) -> Iterator[TrackStep]:
        """``track`` to two stops, one after the other, or in step where that is faster.

        The start may come twice; how the steps of the two ways are mixed is open.
        """
        for stop in stop_frames:
            yield from self.track(frames, start_frame, box_xyxy, stop)
