"""Things of training windows in other pictures, as a query shows what a video is searched for."""

from __future__ import annotations

import cv2
import numpy as np

from ren_core.geometry import Mask, mask_to_box, square_window
from ren_core.images import Image
from ren_core.training.sources import RegionImage, RegionSource

ZOOM = (1.5, 3.0)  # side of the window, in multiples of the thing's longer side
TURN = 20.0  # degrees
STRETCH = 0.2  # natural logarithm of how much wider or narrower a thing becomes
TRIES = 3  # other frames that are searched for a thing
LEAST_PIXELS = 64


def draw_reference(
    source: RegionSource,
    index: int,
    found: RegionImage,
    thing: int,
    moved: float,
    rng: np.random.Generator,
) -> tuple[Image, Mask]:
    """A window about the thing in another picture, and its mask there.

    Where other pictures of the group show the thing, it is one of them; else this one, mirrored,
    turned and stretched.

    Args:
        source: Where the picture is from.
        index: Its number.
        found: The picture.
        thing: Which of its regions.
        moved: Chance that the ground is another picture's.
        rng: Of all draws.
    """
    image, mask = _other_frame(source, index, int(found.names[thing]), rng) or (
        found.image,
        found.masks[thing],
    )
    picture, part = _warped_window(image, mask, rng)
    if rng.random() < moved:
        ground = source.read(int(rng.integers(len(source.entries)))).image
        picture = _on_ground(picture, part, ground, rng)
    return picture, part


def _other_frame(
    source: RegionSource, index: int, name: int, rng: np.random.Generator
) -> tuple[Image, Mask] | None:
    group = source.entries[index].group
    others = [i for i, e in enumerate(source.entries) if e.group == group and i != index]
    for number in rng.permutation(len(others))[:TRIES]:
        seen = source.read(others[number])
        (same,) = np.nonzero(seen.names == name)
        if len(same) and seen.masks[same[0]].sum() >= LEAST_PIXELS:
            return seen.image, seen.masks[same[0]]
    return None


def _warped_window(image: Image, mask: Mask, rng: np.random.Generator) -> tuple[Image, Mask]:
    """A window about a mask, mirrored in half of the cases, turned and stretched."""
    box = mask_to_box(mask)
    assert box is not None
    side = float((box[2:] - box[:2]).max()) * np.exp(rng.uniform(*np.log(ZOOM)))
    middle = (box[:2] + box[2:]) / 2
    rows, columns = square_window(middle, side, (mask.shape[0], mask.shape[1]))
    picture, part = image[rows, columns], mask[rows, columns]
    centre = (float(middle[0] - columns.start), float(middle[1] - rows.start))
    move = cv2.getRotationMatrix2D(centre, float(rng.uniform(-TURN, TURN)), 1.0)
    stretch = np.exp(rng.uniform(-STRETCH, STRETCH, 2) / 2)
    if rng.random() < 0.5:
        stretch[0] *= -1
    move[:, :2] *= stretch  # of the columns' and the rows' own directions
    move[:, 2] += np.array(centre) - (move[:, :2] @ np.array(centre) + move[:, 2])
    size = (part.shape[1], part.shape[0])
    turned = cv2.warpAffine(part.astype(np.uint8), move, size).astype(bool)
    if not turned.any():  # thin things may be lost between pixels
        return picture.copy(), part.copy()
    warped = cv2.warpAffine(picture, move, size, borderMode=cv2.BORDER_REFLECT)
    return warped.astype(np.uint8), turned


def _on_ground(picture: Image, part: Mask, ground: Image, rng: np.random.Generator) -> Image:
    """The part of a picture (h, w, 3) in some piece of another."""
    h, w = part.shape
    height, width = min(h, ground.shape[0]), min(w, ground.shape[1])
    top = int(rng.integers(ground.shape[0] - height + 1))
    left = int(rng.integers(ground.shape[1] - width + 1))
    piece = cv2.resize(ground[top : top + height, left : left + width], (w, h))
    alpha = cv2.GaussianBlur(part.astype(np.float32), (3, 3), 0)[..., None]
    mixed: Image = (picture * alpha + piece * (1 - alpha)).round().astype(np.uint8)
    return mixed
