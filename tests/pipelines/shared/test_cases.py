"""Pointing queries of clips: the window around the crop, and the frames."""

import numpy as np
import pytest

from pipelines.shared.cases import pointing_case, query_window
from vq2d.types import QueryKey, ResponseTrack, VisualQuery


def test_query_window_keeps_the_frames_shape_and_the_box():
    box = np.array([40, 20, 60, 30], np.float32)
    (x1, y1, x2, y2), inner = query_window(box, (100, 200))
    assert (x2 - x1) / (y2 - y1) == pytest.approx(2, abs=0.2)
    assert inner.tolist() == [40 - x1, 20 - y1, 60 - x1, 30 - y1]
    assert inner.min() >= 0
    at_corner, _ = query_window(np.array([190, 90, 220, 120], np.float32), (100, 200))
    assert at_corner[2:] == (200, 100)
    everything, _ = query_window(np.array([0, 0, 200, 100], np.float32), (100, 200))
    assert everything == (0, 0, 200, 100)


class NumberedFrames:
    """Frames of 20 pixels that show their number."""

    size_hw = (20, 20)

    def __len__(self):
        return 30

    def __getitem__(self, frame_idx):
        return np.full((20, 20, 3), frame_idx, np.uint8)


def test_frames_without_the_object_lie_between_track_and_question():
    query = VisualQuery(
        key=QueryKey(0, 0, 0, "1"),
        query_frame=20,
        crop_frame=2,
        crop_box_xyxy=np.array([20, 20, 26, 26], np.float32),
        original_size_hw=(40, 40),
        response=ResponseTrack(5, np.tile(np.array([4, 4, 8, 8], np.float32), (5, 1)), 1.0),
    )
    case = pointing_case(query, NumberedFrames(), 3, 2)
    assert case.query_image.max() == 2
    assert case.query_mask().sum() == 3 * 3
    assert [int(image.max()) for image, _ in case.frames] == [6, 7, 8]
    assert [int(image.max()) for image in case.absent] == [13, 16]
    assert case.frames[0][1].tolist() == [2, 2, 4, 4]
