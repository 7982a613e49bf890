"""A mask head small enough for tests, and pictures of coloured squares to train it on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from ren_core.mask_head import MaskHead, MaskHeadShape
from ren_core.training.sources import Entry, RegionImage

SIZE_HW = (90, 120)


def tiny_head(levels: tuple[int, int, int], seed: int = 0) -> MaskHead:
    torch.manual_seed(seed)
    shape = MaskHeadShape(levels, reference=levels[0], dim=32, heads=4, middle=16, fine=16)
    return MaskHead(shape).eval()


class Squares:
    """Pictures with two squares each, one red and one blue, on grey; as a source of regions."""

    settings = "squares"

    def __init__(self, root, count: int) -> None:
        self.root, self.count = root, count
        for index in range(count):
            (root / f"{index}.bin").write_bytes(self.read(index).image.tobytes())

    @property
    def entries(self) -> Sequence[Entry]:
        return [Entry(str(i), self.root / f"{i}.bin") for i in range(self.count)]

    def read(self, index: int, variant: int = 0) -> RegionImage:
        rng = np.random.default_rng(index)
        image = np.full((*SIZE_HW, 3), 110, np.uint8)
        masks = []
        for number, colour in enumerate([(220, 30, 30), (30, 30, 220)]):
            mask = np.zeros(SIZE_HW, bool)
            side = int(rng.integers(16, 40))
            x, y = (
                int(rng.integers(60 * number, 60 * number + 59 - side)),
                int(rng.integers(0, 90 - side)),
            )
            mask[y : y + side, x : x + side] = True
            image[mask] = colour
            masks.append(mask)
        return RegionImage(image, np.stack(masks), np.arange(2))
