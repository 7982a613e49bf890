"""A sighting in terms of its video's file, as the exports take it."""

from __future__ import annotations

from collections.abc import Iterator

from ren_core.geometry import Mask
from vq2d.masking.base import PromptableSegmenter
from vq2d.memory.ask import Sighting
from vq2d.memory.exports.track import ExportTrack

FRAMES_AT_ONCE = 8
"""Memory does not grow with the length of a track, but for the masks."""


def export_track(
    sighting: Sighting, label: str, segmenter: PromptableSegmenter | None = None
) -> ExportTrack:
    """A sighting, ready to be exported.

    Args:
        sighting: From a memory.
        label: Name of the thing.
        segmenter: Draws the thing's mask in each frame, from its box; None: boxes only.
    """
    timeline, frames = sighting.frames.timeline, sighting.frames
    numbers = frames.numbers[sighting.first_frame : sighting.end_frame]
    times = (timeline.pts[numbers] - timeline.pts[0]) * float(timeline.time_base)
    return ExportTrack(
        video=sighting.video.path,
        size_hw=sighting.video.size_hw,
        num_source_frames=len(timeline),
        source_fps=timeline.average_rate,
        source_frames=numbers,
        times_s=times,
        boxes_xyxy=sighting.boxes_xyxy,
        masks=None if segmenter is None else tuple(_masks(sighting, segmenter)),
        label=label,
        score=sighting.score,
    )


def _masks(sighting: Sighting, segmenter: PromptableSegmenter) -> Iterator[Mask | None]:
    """The mask (H, W) of each frame; None where nothing can be segmented."""
    boxes = sighting.boxes_xyxy
    for start in range(0, len(boxes), FRAMES_AT_ONCE):
        part = boxes[start : start + FRAMES_AT_ONCE]
        images = [sighting.frame(start + i) for i in range(len(part))]
        for segment in segmenter.from_boxes(images, list(part)):
            yield None if segment is None else segment.mask
