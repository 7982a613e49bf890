"""Pairs of views from several sources: across frames, held out by video, the same online."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ren_core.errors import ConfigError, DataError
from ren_core.training.online import OnlineConfig, OnlineSource, RawBatches
from ren_core.training.pairs import PairRules, build_schedule, split_groups
from ren_core.training.recipes import SourceUse, recipe
from ren_core.training.run import TrainJob, make_batches
from ren_core.training.samples import PromptSampling
from ren_core.training.sources import Entry, RegionImage
from ren_core.training.trainer import Worker
from ren_core.training.views import ViewConfig
from tests.tiny import MeanColours

STILL = ViewConfig(size=8, flip=0, jitter=0, sharpness=0, rotation_deg=0, shear_deg=0, min_crop=1)
CONFIG = OnlineConfig(views=STILL, pairs=4, sampling=PromptSampling(count=8), seed=0)


class Frames:
    """Pictures whose grey value is their index; videos of ``frames`` pictures each."""

    settings = None

    def __init__(self, count, frames=1, base=0):
        self.entries = [Entry(f"video {i // frames}", Path(f"{i}.png")) for i in range(count)]
        self.base = base

    def read(self, index, variant=0):
        image = np.full((8, 8, 3), self.base + index, np.uint8)
        return RegionImage(image, np.ones((1, 8, 8), bool), np.array([0]))


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


def test_pictures_of_one_video_stay_together_without_being_one_group():
    entries = [Entry(str(i), Path(f"{i}.png"), video=f"v{i // 3}") for i in range(12)]
    assert split_groups(entries, 2, held_out=True) == [[3], [4], [5], [9], [10], [11]]
    assert split_groups(entries, 2, held_out=False) == [[0], [1], [2], [6], [7], [8]]


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
    numbers = {view.source for view in _train(*sources)[0]}
    assert numbers <= {0, 1}


def test_a_schedule_counts_without_going_through():
    schedule = build_schedule([0.45, 0.15, 0.4], seed=3)
    assert list(schedule.counts) == [450, 150, 400]
    seen = Counter()
    for number in range(2500):
        which, count = schedule.at(number)
        assert count == seen[which]
        seen[which] += 1
    assert build_schedule([0.45, 0.15, 0.4], seed=4).order != schedule.order


@pytest.mark.parametrize("wrong", [{"weight": 0}, {"max_gap": 0}, {"held_out_every": 1}])
def test_rules_reject_nonsense(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        PairRules(**wrong)


def test_a_recipe_that_draws_views_anew_takes_several_sources(tmp_path):
    base = recipe("dinov2-vitl14")
    named = replace(
        base,
        train=replace(base.train, pairs=4, precision="fp32"),
        sources={
            "scenes": SourceUse(weight=2, take_every=2),
            "coco": SourceUse(weight=1, cross_frame=False),
        },
        held_out_every=3,
    )
    sources = {"scenes": Frames(40, frames=4), "coco": Frames(40, frames=4)}
    job = TrainJob(recipe=named, sources=sources, out=tmp_path, target=tmp_path / "head")
    training, validation = make_batches(job, MeanColours(), Worker(torch.device("cpu")))
    coco, scenes = training.raw.sources
    assert (coco.weight, coco.cross_frame, len(coco.regions.entries)) == (1, False, 40)
    assert (scenes.weight, scenes.cross_frame, len(scenes.regions.entries)) == (2, True, 20)
    assert [len(groups) for groups in training.raw.groups] == [7, 7]
    assert [len(groups) for groups in validation.raw.groups] == [3, 3]
    ids = training.batch(0).region_ids
    own = [set(row.tolist()) - {-1} for row in ids]
    assert all(a & b for a, b in zip(own[::2], own[1::2], strict=True))
    assert len(set().union(*own)) == 4  # one object per pair, none shared between pairs
