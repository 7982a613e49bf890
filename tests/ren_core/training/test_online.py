"""Batches that are drawn anew: across frames, held out by video, the same with workers."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
import torch

from ren_core.errors import DataError
from ren_core.training.online import OnlineBatches, OnlineConfig, OnlineSource, RawBatches
from ren_core.training.samples import PromptSampling
from ren_core.training.views import ViewConfig
from tests.training_cases import SIZE, Frames, LiftedColours, quarters_source

STILL = ViewConfig(size=8, flip=0, jitter=0, sharpness=0, rotation_deg=0, shear_deg=0, min_crop=1)
CONFIG = OnlineConfig(views=STILL, pairs=4, sampling=PromptSampling(count=8), seed=0)


def _pairs(batches, numbers):
    """Grey values of both views of every pair."""
    shown = [[int(v.image[0, 0, 0]) for v in batches[n]] for n in numbers]
    return [tuple(row[i : i + 2]) for row in shown for i in range(0, len(row), 2)]


def _train(*sources, **options):
    return RawBatches(sources, replace(CONFIG, **options), grid=4)


def test_online_pairs_of_a_video_are_two_frames_nearby():
    source = OnlineSource(regions=Frames(40, frames=10), max_gap=3, held_out_every=4)
    pairs = _pairs(_train(source), range(30))
    assert all(a != b and a // 10 == b // 10 and abs(a - b) <= 3 for a, b in pairs)
    assert {a // 10 for a, _ in pairs} == {0, 1, 2}
    assert len({a for a, _ in pairs}) == 30
    views = _train(source)[0]
    assert [v.group for v in views[::2]] == [v.group for v in views[1::2]]

    same = replace(source, cross_frame=False)
    assert all(a == b for a, b in _pairs(_train(same), range(9)))
    assert all(a == b for a, b in _pairs(_train(OnlineSource(regions=Frames(40))), range(9)))


def test_no_video_is_in_both_training_and_validation():
    source = OnlineSource(regions=Frames(40, frames=5), held_out_every=4)
    seen, kept = (
        {value // 5 for pair in _pairs(_train(source, held_out=part), range(20)) for value in pair}
        for part in (False, True)
    )
    assert seen == {0, 1, 2, 4, 5, 6}
    assert kept == {3, 7}
    with pytest.raises(DataError, match="validation"):
        _train(replace(source, held_out_every=9), held_out=True)


def test_sources_give_their_shares_and_are_passed_epoch_by_epoch():
    few, many = Frames(10, frames=2), Frames(200, base=50)
    sources = [
        OnlineSource(regions=few, weight=1, held_out_every=5),
        OnlineSource(regions=many, weight=3, held_out_every=100),
    ]
    pairs = _pairs(_train(*sources), range(500))
    counts = Counter(first // 2 if first < 50 else first for first, _ in pairs)
    assert [counts.get(video) for video in range(5)] == [125, 125, 125, 125, None]
    rest = [counts[value] for value in range(50, 250) if counts[value]]
    assert len(rest) == 198
    assert set(rest) <= {7, 8}  # 1500 pairs over 198 pictures


def test_online_batches_equal_with_and_without_workers(quarters):
    sources = [OnlineSource(regions=quarters_source(quarters), held_out_every=6)]
    config = OnlineConfig(views=ViewConfig(size=SIZE), pairs=2, sampling=CONFIG.sampling, seed=1)
    here = OnlineBatches(sources, LiftedColours(), config)
    ahead = OnlineBatches(sources, LiftedColours(), replace(config, workers=1, stride=2))
    for number in (1, 3, 5, 2):  # the last one is out of order
        a, b = here.batch(number), ahead.batch(number)
        assert torch.equal(a.features, b.features)
        assert torch.equal(a.region_ids, b.region_ids)
    first_epoch = [here.raw[n][i].group for n in (0, 1) for i in (0, 2)] + [here.raw[2][0].group]
    assert sorted(first_epoch) == [0, 1, 2, 3, 4]
    held = OnlineBatches(sources, LiftedColours(), replace(config, held_out=True))
    assert {view.group for view in held.raw[0]} == {5}
