"""Models small enough for tests: they really compute, on a few numbers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from ren_core.encoders.base import EncoderSpec, PatchEncoder
from ren_core.geometry import Boxes, clip_boxes, mask_to_box
from ren_core.model import REN
from ren_core.presets import RENConfig
from ren_core.region_encoder import RegionEncoder
from vq2d.masking.base import Appearance, PromptableSegmenter, Segment, TrackStep, VideoTracker

SPEC = EncoderSpec(name="tiny", input_size=56, patch_size=7, dim=16)


class TinyEncoder(PatchEncoder):
    """One random convolution over colours and their squares, centred; patches of 7 pixels."""

    def __init__(self) -> None:
        super().__init__(SPEC)
        torch.manual_seed(5)
        self.conv = nn.Conv2d(6, SPEC.dim, SPEC.patch_size, SPEC.patch_size)
        with torch.no_grad():  # a mean over the patch: colour is all that counts
            self.conv.weight.copy_(
                self.conv.weight.mean((2, 3), keepdim=True).expand_as(self.conv.weight)
            )
        self.freeze()

    def encode(self, images: Tensor) -> Tensor:
        return self.conv(torch.cat([images, images.square() - 1], dim=1)) * 20


def tiny_ren(**settings) -> REN:
    torch.manual_seed(6)
    head = RegionEncoder(SPEC.dim, num_heads=4, num_layers=2)
    config = RENConfig(
        encoder="tiny", head="tiny", **{"prompting": "grid", "grid_size": 8, **settings}
    )
    return REN(TinyEncoder(), head, config)


class ColourSegmenter(PromptableSegmenter):
    """Segments pixels of nearly the same colour as the most colourful one at the prompt."""

    reach = 4  # px; a patch that shows an object's edge has its point beside the object

    def from_point(self, image, point_xy, *, appearance=None) -> Segment | None:
        H, W = image.shape[:2]
        x, y = min(int(point_xy[0]), W - 1), min(int(point_xy[1]), H - 1)
        near = image[
            max(0, y - self.reach) : y + self.reach, max(0, x - self.reach) : x + self.reach
        ]
        pixels = near.reshape(-1, 3)
        return self._segment(image, pixels[np.ptp(pixels.astype(int), axis=1).argmax()])

    def from_box(self, image, box_xyxy) -> Segment | None:
        x1, y1, x2, y2 = clip_boxes(box_xyxy, image.shape[:2]).astype(int)
        if x2 <= x1 or y2 <= y1:
            return None
        return self._segment(image, image[(y1 + y2) // 2, (x1 + x2) // 2])

    def appearance_of(self, images, masks) -> Appearance:
        means = [
            image[mask].mean(axis=0) if mask.any() else np.ones(3)
            for image, mask in zip(images, masks, strict=True)
        ]
        return Appearance(nn.functional.normalize(torch.from_numpy(np.stack(means)).float(), dim=1))

    def _segment(self, image, colour) -> Segment | None:
        mask = np.abs(image.astype(int) - colour.astype(int)).max(axis=2) < 40
        box = mask_to_box(mask)
        return None if box is None else Segment(mask, box, 1.0)


class ColourTracker(VideoTracker):
    """Follows the colour at the centre of the first box until fewer than 12 pixels have it."""

    def track(
        self, frames, start_frame: int, box_xyxy: Boxes, stop_frame: int
    ) -> Iterator[TrackStep]:
        x, y = ((box_xyxy[:2] + box_xyxy[2:]) / 2).astype(int)
        colour = frames[start_frame][y, x].astype(int)
        step = 1 if stop_frame > start_frame else -1
        for i in range(start_frame, stop_frame, step):
            mask = np.abs(frames[i].astype(int) - colour).max(axis=2) < 40
            if mask.sum() < 12:
                return
            yield TrackStep(i, mask_to_box(mask), 1.0)


class MeanColours(PatchEncoder):
    """The patches' mean colours, exactly: what a view holds can be read off its features."""

    def __init__(self) -> None:
        super().__init__(EncoderSpec(name="means", input_size=16, patch_size=4, dim=3))
        self.scale = nn.Parameter(torch.ones(()))
        self.freeze()

    def encode(self, images: Tensor) -> Tensor:
        return nn.functional.avg_pool2d(images, 4) * self.scale
