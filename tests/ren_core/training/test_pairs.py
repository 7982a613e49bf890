"""Which pictures make a pair, which are held out, and which source comes next."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from ren_core.errors import ConfigError
from ren_core.training.pairs import PairRules, build_schedule, split_groups
from ren_core.training.sources import Entry


def test_pictures_of_one_video_stay_together_without_being_one_group():
    entries = [Entry(str(i), Path(f"{i}.png"), video=f"v{i // 3}") for i in range(12)]
    assert split_groups(entries, 2, held_out=True) == [[3], [4], [5], [9], [10], [11]]
    assert split_groups(entries, 2, held_out=False) == [[0], [1], [2], [6], [7], [8]]


def test_frames_of_a_pair_are_at_most_the_gap_apart():
    rules, rng = PairRules(max_gap=2), np.random.default_rng(0)
    pairs = {rules.draw(range(100, 110), rng) for _ in range(400)}
    assert {abs(a - b) for a, b in pairs} == {1, 2}
    assert {a for a, _ in pairs} == set(range(100, 110))


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
