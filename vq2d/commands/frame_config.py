"""What decides the training pictures of a clip; apart from the work, so that help is quick."""

from __future__ import annotations

from ren_core.configuration import Count, ImageSize, configuration


@configuration()
class FrameConfig:
    """What decides the pictures of a clip.

    Attributes:
        take_every: Annotation frames (5 per second) from one picture to the next.
        short_side: Largest length of the shorter side, in pixels.
        long_side: Largest length of the longer side, in pixels.
    """

    take_every: Count = 75
    short_side: ImageSize = 288
    long_side: ImageSize = 512
