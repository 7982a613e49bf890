"""Merging and thresholds on tokens whose similarities are known."""

import numpy as np
import pytest
import torch

from eval.reid.calibration import (
    CalibrationConfig,
    calibrate_clips,
    calibrate_videos,
    count_regions,
    merged,
    not_merged,
    remembered,
)
from eval.reid.calibration_plot import InUse, draw_calibration
from eval.reid.pointing import PointingCase
from eval.reid.presence import PresenceRow, clip_presence, threshold_curve, video_presence
from eval.reid.protocol import ReidConfig, read_videos
from eval.reid.tokens import Comparison, PointTokens
from tests.eval.reid.test_reidentification import BLUE, GREEN, RED, colours, picture, write_video

CONFIG = CalibrationConfig(kinds=("colour",), similarities=(0.5, 0.999, 1.0), min_group=2)
BOX = np.array([8, 8, 24, 24], np.float32)


def four_tokens(_image):
    """Unit vectors at 0, 20, 90 and 100 degrees, on a line."""
    angles = torch.deg2rad(torch.tensor([0.0, 20, 90, 100]))
    points = np.array([[0, 0], [0, 2], [0, 4], [0, 6]], np.float32)
    return {"line": PointTokens(torch.stack([angles.cos(), angles.sin()], 1), points)}


@pytest.mark.parametrize(
    ("similarity", "min_group", "points"),
    [
        (np.cos(np.deg2rad(5)), 1, [0, 2, 4, 6]),
        (np.cos(np.deg2rad(15)), 1, [0, 2, 4]),
        (np.cos(np.deg2rad(15)), 2, [4]),
        (np.cos(np.deg2rad(25)), 1, [0, 4]),
        (0.0, 1, [2]),  # linked through their neighbours; nearest to the centre at 3, the first
        (1.0, 3, [0, 2, 4, 6]),  # not merged, none dropped
    ],
)
def test_merging_by_hand(similarity, min_group, points):
    (found,) = merged(four_tokens, (similarity,), min_group)(None).values()
    assert found.points_yx[:, 1].tolist() == points
    config = CalibrationConfig(kinds=("line",), similarities=(similarity,), min_group=min_group)
    assert list(count_regions([None, None], four_tokens, config).values()) == [[len(points)] * 2]


def test_queries_keep_their_tokens_under_the_merged_names():
    frames, queries = merged(four_tokens, (0.5, 0.9), 1), not_merged(four_tokens, (0.5, 0.9))
    assert frames(None).keys() == queries(None).keys() == {"line@0.5", "line@0.9"}
    assert all(len(found.tokens) == 4 for found in queries(None).values())


def test_remembered_pictures_are_tokenized_once():
    seen = []

    def tokenize(image):
        seen.append(int(image[0, 0, 0]))
        return colours(image)

    recall = remembered(tokenize, 2)
    one, two, three = (np.full((16, 16, 3), v, np.uint8) for v in (1, 2, 3))
    for image in (one, two, one, three, one, two):  # two is forgotten for three
        recall(image)
    assert seen == [1, 2, 3, 2]


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


@pytest.fixture
def videos(tmp_path):
    reds = [picture((RED, 8, 8 * i)) for i in range(6)]
    greens = [picture((GREEN, 8 * i, 16)) for i in range(6)]
    write_video(tmp_path, "red", reds, [(8, 8 * i) for i in range(6)])
    write_video(tmp_path, "green", greens, [(8 * i, 16) for i in range(6)])
    return read_videos(tmp_path)


def case():
    there = picture((RED, 0, 80), (BLUE, 40, 16))
    gone = picture((BLUE, 40, 16))
    frames = ((there, np.array([80, 0, 96, 16], np.float32)),)
    return PointingCase("q", picture((RED, 8, 8)), BOX, frames, (gone, gone))


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

    rows = list(clip_presence([case()], colours, [Comparison("colour", "pooled")]))
    assert [(r.present, r.on_object) for r in rows] == [
        (True, True),
        (False, False),
        (False, False),
    ]
    assert rows[0].similarity > 0.99 > 0.9 > rows[1].similarity


def test_merging_too_much_loses_the_object(videos, tmp_path):
    on_videos = calibrate_videos(videos, colours, CONFIG)
    on_clips = calibrate_clips([case()], colours, CONFIG)
    for found in (on_videos, on_clips):
        assert [p.similarity for p in found.merging] == [0.5, 0.999, 1.0]
        assert [p.regions for p in found.merging] == sorted(p.regions for p in found.merging)
        assert found.merging[0].regions == 1  # everything is linked
        assert found.merging[-1].regions == 96
        assert found.merging[0].on_object == 0
        assert found.merging[-1].on_object == 1
        assert all(p.low <= p.regions <= p.high for p in found.merging)
    target = tmp_path / "plot.png"
    draw_calibration(
        target,
        {"videos": on_videos, "clips": on_clips},
        "colour",
        InUse(merge_similarity=0.95, floor=0.3),
    )
    assert target.read_bytes().startswith(b"\x89PNG")
