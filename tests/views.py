"""A view of a query of one's own making."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from vq2d.show.view import AnswerView
from vq2d.types import Candidate, QueryKey, ResponseTrack, VisualQuery

GREY = 90


class ListFrames:
    """A clip held in memory."""

    def __init__(self, count, size_hw):
        self.size_hw = size_hw
        self.images = [np.full((*size_hw, 3), GREY, np.uint8) for _ in range(count)]

    def __len__(self):
        return len(self.images)

    def __getitem__(self, frame_idx):
        if not 0 <= frame_idx < len(self):
            raise IndexError(frame_idx)
        return self.images[frame_idx]

    def __iter__(self):
        return iter(self.images)


def make_view(count=40, size_hw=(90, 160), *, query_frame=30, crop_frame=2, **changes):
    box = np.array([20, 10, 60, 50], np.float32)
    query = VisualQuery(QueryKey(0, 0, 0, "1"), query_frame, crop_frame, box, size_hw)
    similarity = np.linspace(0.2, 0.7, min(count, query_frame)).astype(np.float32)
    track = ResponseTrack(5, np.tile(np.array([[40, 20, 80, 60]], np.float32), (6, 1)), 0.9)
    settings = {
        "query": query,
        "frames": ListFrames(count, size_hw),
        "crop_box_xyxy": box,
        "similarity": similarity,
        "candidates": (
            Candidate(7, (60.0, 40.0), 0.66, track.boxes_xyxy[0], 0.71),
            Candidate(20, (10.0, 80.0), 0.5),
        ),
        "track": track,
        "truth": replace(track, boxes_xyxy=track.boxes_xyxy + 12),
        "metrics": {"stIoU": 0.4},
        "title": "a mug",
    }
    return AnswerView(**(settings | changes))


def is_near(pixel, colour, tolerance=60):
    return np.abs(np.asarray(pixel, int) - colour).max() <= tolerance
