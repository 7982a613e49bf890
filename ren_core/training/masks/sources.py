"""Things to train masks on: pieces of label maps, and things put into other pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from ren_core.geometry import Boxes, Mask, mask_to_box
from ren_core.images import Image
from ren_core.training.sources import Entry, RegionImage, RegionSource, stack_masks


@dataclass(frozen=True, slots=True)
class PieceSource:
    """The connected pieces of another source's regions, and all regions together.

    Attributes:
        source: Gives the regions.
        least: Smaller pieces are left out, as a share of the picture.
        whole: Also give the union of all regions, such as a person in all their clothes.
    """

    source: RegionSource
    least: float = 0.005
    whole: bool = False

    @property
    def entries(self) -> Sequence[Entry]:
        """Those of the source."""
        return self.source.entries

    @property
    def settings(self) -> object:
        """What decides the pieces."""
        return {"pieces_of": self.source.settings, "least": self.least, "whole": self.whole}

    def read(self, index: int, variant: int = 0) -> RegionImage:
        """Read one picture; names say nothing across pictures."""
        found = self.source.read(index, variant)
        pieces = [piece for mask in found.masks for piece in _pieces(mask, self.least)]
        if self.whole and len(found.masks):
            pieces.append(np.asarray(found.masks.any(axis=0)))
        size_hw = (found.image.shape[0], found.image.shape[1])
        return RegionImage(found.image, stack_masks(pieces, size_hw), np.arange(len(pieces)))


def _pieces(mask: Mask, least: float) -> list[Mask]:
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    large = stats[:, cv2.CC_STAT_AREA] >= least * mask.size
    return [labels == i for i in range(1, count) if large[i]]


@dataclass(frozen=True, slots=True)
class PastedSource:
    """Pictures of one source with things of another put into them; only those are regions.

    Attributes:
        things: Where things are cut out.
        pictures: What they are put into.
        count: Things in a picture; later ones may hide earlier ones.
        scale: Least and largest longer side of a thing, in shares of the picture's shorter side.
        seed: Of all draws.
    """

    things: RegionSource
    pictures: RegionSource
    count: int = 3
    scale: tuple[float, float] = (0.2, 0.7)
    seed: int = 0

    @property
    def entries(self) -> Sequence[Entry]:
        """Those of the pictures."""
        return self.pictures.entries

    @property
    def settings(self) -> object:
        """What decides the pasted things; the files of the things by name."""
        names = [entry.image.name for entry in self.things.entries]
        return {
            "things": [self.things.settings, names],
            "pictures": self.pictures.settings,
            "count": self.count,
            "scale": self.scale,
            "seed": self.seed,
        }

    def read(self, index: int, variant: int = 0) -> RegionImage:
        """One picture with its things; ``variant`` changes them."""
        rng = np.random.default_rng([self.seed, index, variant])
        image = self.pictures.read(index).image.copy()
        masks: list[Mask] = []
        for _ in range(self.count):
            cut = self._cut_out(rng)
            if cut is None:
                continue
            pasted = _paste(image, *cut, self.scale, rng)
            masks = [mask & ~pasted for mask in masks] + [pasted]
        seen = [mask for mask in masks if mask.any()]
        size_hw = (image.shape[0], image.shape[1])
        return RegionImage(image, stack_masks(seen, size_hw), np.arange(len(seen)))

    def _cut_out(self, rng: np.random.Generator) -> tuple[Image, Mask] | None:
        """A thing and its mask, cut to its box; None if the drawn picture has no thing."""
        found = self.things.read(int(rng.integers(len(self.things.entries))))
        boxes = [mask_to_box(mask) for mask in found.masks]
        large = [i for i, box in enumerate(boxes) if box is not None and _sides(box).min() >= 24]
        if not large:
            return None
        chosen = int(rng.choice(large))
        box = boxes[chosen]
        assert box is not None
        x1, y1, x2, y2 = box.astype(int)
        return found.image[y1:y2, x1:x2], found.masks[chosen, y1:y2, x1:x2]


def _sides(box: Boxes) -> Boxes:
    sides: Boxes = box[2:] - box[:2]
    return sides


def _paste(
    image: Image,
    thing: Image,
    mask: Mask,
    scale: tuple[float, float],
    rng: np.random.Generator,
) -> Mask:
    """Put a thing into a picture (H, W, 3), in place; gives the pixels that it covers."""
    H, W = image.shape[:2]
    if rng.random() < 0.5:
        thing, mask = thing[:, ::-1], mask[:, ::-1]
    longer = np.exp(rng.uniform(*np.log(scale))) * min(H, W)
    factor = longer / max(mask.shape)
    size = (max(2, round(mask.shape[1] * factor)), max(2, round(mask.shape[0] * factor)))
    way = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    pixels = cv2.resize(np.ascontiguousarray(thing), size, interpolation=way).astype(np.float32)
    alpha = cv2.resize(mask.astype(np.float32), size, interpolation=way)
    alpha = cv2.GaussianBlur(alpha, (3, 3), 0)
    pixels = pixels * rng.uniform(0.7, 1.3)
    left = int(rng.integers(-size[0] // 5, W - size[0] * 4 // 5))  # a fifth may be cut off
    top = int(rng.integers(-size[1] // 5, H - size[1] * 4 // 5))
    x1, y1, x2, y2 = max(left, 0), max(top, 0), min(left + size[0], W), min(top + size[1], H)
    part = alpha[y1 - top : y2 - top, x1 - left : x2 - left, None]
    under = image[y1:y2, x1:x2].astype(np.float32)
    over = pixels[y1 - top : y2 - top, x1 - left : x2 - left]
    image[y1:y2, x1:x2] = (over * part + under * (1 - part)).clip(0, 255).round()
    covered = np.zeros((H, W), bool)
    covered[y1:y2, x1:x2] = part[..., 0] > 0.5
    return covered
