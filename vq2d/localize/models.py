"""The loaded models that the stages share."""

from __future__ import annotations

from dataclasses import dataclass

from vq2d.localize.encode import TokenEncoder
from vq2d.masking.base import PromptableSegmenter, VideoTracker


@dataclass(frozen=True, slots=True)
class Models:
    """What turns images into vectors, points into masks, and a box into a track."""

    encoder: TokenEncoder
    segmenter: PromptableSegmenter
    tracker: VideoTracker
