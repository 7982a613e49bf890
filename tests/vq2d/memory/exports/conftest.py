"""An answer of three sightings in two videos."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vq2d.memory.exports import ExportTrack

SIZE_HW = (48, 64)


def moving_mask(box):
    """The box's pixels without its upper left one."""
    x1, y1, x2, y2 = np.round(box).astype(int)
    mask = np.zeros(SIZE_HW, bool)
    mask[y1:y2, x1:x2] = True
    mask[y1, x1] = False
    return mask


@pytest.fixture
def sighting():
    """A track of 4 frames at 30 fps; its second mask is not known."""
    frames = np.array([12, 18, 24, 30])
    boxes = np.array([[2.25 + 3 * i, 5, 12.5 + 3 * i, 15.75] for i in range(4)], np.float32)
    masks = tuple(None if i == 1 else moving_mask(box) for i, box in enumerate(boxes))
    return ExportTrack(
        video=Path("/films/Küche & <Flur>.mp4"),
        size_hw=SIZE_HW,
        num_source_frames=90,
        source_fps=29.97,
        source_frames=frames,
        times_s=frames / 29.97,
        boxes_xyxy=boxes,
        masks=masks,
        label='Omas "rote" <Tasse> & 茶碗',
        score=0.8125,
    )


@pytest.fixture
def answer(sighting):
    """Of one video two sightings, the later one up to its last frame; one of a slow video."""
    later = replace(
        sighting,
        source_frames=np.array([71, 77, 83, 89]),
        times_s=np.array([71, 77, 83, 89]) / 29.97,
        score=0.5,
        masks=None,
    )
    slow = replace(  # 3 fps, so that some frames are asked for twice
        sighting,
        video=Path("/films/garden.mov"),
        num_source_frames=20,
        source_fps=3.0,
        source_frames=np.array([0, 1, 1, 2]),
        times_s=np.array([0, 1, 1, 2]) / 3,
        masks=None,
        label="ball",
    )
    return [sighting, later, slow]
