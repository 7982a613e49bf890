"""A red square that comes in, moves to the right and goes, on grey."""

from __future__ import annotations

import numpy as np

H, W = 90, 120
RED, BLUE, GREY = (220, 30, 30), (30, 30, 220), (110, 110, 110)
MOVING = [None, None, *[(10 + 6 * i, 30, 30 + 6 * i, 50) for i in range(8)], None, None]


def picture(box, other=None):
    """(H, W, 3) with a red box and perhaps a blue one; None: without it."""
    image = np.full((H, W, 3), GREY, np.uint8)
    for place, colour in ((box, RED), (other, BLUE)):
        if place is not None:
            x1, y1, x2, y2 = np.array(place).astype(int)
            image[max(y1, 0) : y2, max(x1, 0) : x2] = colour
    return image


class Clip:
    """Frames with one red box each."""

    size_hw = (H, W)

    def __init__(self, boxes):
        self.boxes = boxes

    def __len__(self):
        return len(self.boxes)

    def __getitem__(self, i):
        return picture(self.boxes[i])

    def __iter__(self):
        return (self[i] for i in range(len(self)))
