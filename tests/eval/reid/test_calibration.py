"""Merging of tokens whose similarities are known."""

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
from eval.reid.tokens import PointTokens
from tests.eval.reid.coloured_videos import colours, red_and_blue_clip

CONFIG = CalibrationConfig(kinds=("colour",), similarities=(0.5, 0.999, 1.0), min_group=2)


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


def test_merging_too_much_loses_the_object(videos, tmp_path):
    on_videos = calibrate_videos(videos, colours, CONFIG)
    on_clips = calibrate_clips([red_and_blue_clip()], colours, CONFIG)
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
