"""Frames with and without the object, and thresholds between them."""

import numpy as np

from eval.reid.presence import PresenceRow, clip_presence, threshold_curve, video_presence
from eval.reid.protocol import ReidConfig
from eval.reid.tokens import Comparison
from tests.eval.reid.coloured_videos import colours, red_and_blue_clip


def rows_of(present, absent):
    """Present: (similarity, on_object) pairs; absent: similarities."""
    common = {"kind": "r", "query": "centre", "name": "q"}
    there = [PresenceRow(**common, present=True, on_object=on, similarity=s) for s, on in present]
    gone = [PresenceRow(**common, present=False, on_object=False, similarity=s) for s in absent]
    return there + gone


def test_threshold_curve_by_hand():
    rows = rows_of([(0.9, True), (0.7, True), (0.6, False), (0.4, True)], [0.65, 0.3])
    low, mid, high, over = threshold_curve(rows, (0.0, 0.6, 0.9, 0.95))
    assert (low.recall, low.false_alarms, low.precision) == (0.75, 1.0, 0.75 / 2)
    assert (mid.recall, mid.false_alarms, mid.precision) == (0.5, 0.5, 0.5 / 1.25)
    assert (high.recall, high.false_alarms, high.precision) == (0.25, 0.0, 1.0)
    assert (over.recall, over.false_alarms) == (0.0, 0.0)
    assert np.isnan(over.precision)


def test_threshold_curve_of_frames_of_one_kind():
    (point,) = threshold_curve(rows_of([(0.5, True)], []), (0.1,))
    assert point.recall == 1
    assert np.isnan(point.false_alarms)
    assert np.isnan(point.precision)


def test_presence_in_videos_and_clips(videos):
    config = ReidConfig(gallery_step=5, query_frames=(2,))
    rows = list(video_presence(videos, colours, config, [Comparison("colour", "centre")]))
    assert [(r.name, r.present) for r in rows] == [
        (f"{name}/2", name == other)
        for name in ("green", "red")
        for other in ("green",) * 2 + ("red",) * 2
    ]
    assert all(r.on_object == r.present for r in rows)
    assert min(r.similarity for r in rows if r.present) > 0.99
    assert max(r.similarity for r in rows if not r.present) < 0.9

    rows = list(clip_presence([red_and_blue_clip()], colours, [Comparison("colour", "pooled")]))
    assert [(r.present, r.on_object) for r in rows] == [
        (True, True),
        (False, False),
        (False, False),
    ]
    assert rows[0].similarity > 0.99 > 0.9 > rows[1].similarity
