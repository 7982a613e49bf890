"""Specifications of the sets: what they hold is what was drawn, and no set knows another."""

from __future__ import annotations

import json
from itertools import combinations

import pytest

from tools.tours.contents import what_is_shown
from tools.tours.errors import TourError
from tools.tours.make_set import SETS
from tools.tours.specify import PLANS, draw_tours
from tools.tours.tour import read_tours

MADE = sorted(PLANS)


def named(tour):
    return [item for item in tour.spec.objects if item.title in tour.titles]


@pytest.mark.parametrize("name", MADE)
def test_a_specification_is_what_its_plan_draws(name):
    assert json.loads((SETS / f"{name}.json").read_text()) == draw_tours(PLANS[name])


@pytest.mark.parametrize(("name", "tours", "frames", "queries"), [
    ("made_dev", 8, 300, 60), ("made_test", 8, 300, 60),
    ("long_dev", 2, 1500, 24), ("long_test", 2, 1500, 24), ("sample", 3, 220, 12),
])  # fmt: skip
def test_sets_have_their_sizes(name, tours, frames, queries):
    read = read_tours(SETS / f"{name}.json")
    assert [tour.facts.frame_count for tour in read] == [frames] * tours
    assert sum(tour.query_count for tour in read) == queries


def test_no_thing_is_in_two_sets():
    things = {
        n: {i.asset.family for t in read_tours(SETS / f"{n}.json") for i in named(t)} for n in MADE
    }
    for a, b in combinations(MADE, 2):
        assert not things[a] & things[b]


def test_twins_stand_together_and_apart():
    for tour, following in zip(
        *(lambda t: (t, [*t[1:], t[0]]))(read_tours(SETS / "made_dev.json")), strict=True
    ):
        own = [item.asset.family for item in named(tour)]
        assert len(own) - len(set(own)) == 2  # two pairs in one room
        assert len(set(own) & {item.asset.family for item in named(following)}) == 2


def test_the_sample_has_both_rates_and_an_upright_clip():
    tours = read_tours(SETS / "sample.json")
    assert {tour.file_fps for tour in tours} == {5, 30}
    sizes = [tour.facts.size_hw for tour in tours]
    assert (640, 480) in sizes
    assert (480, 640) in sizes


def annotated(tours):
    """Annotations that ask for the first two things of every tour."""
    return {
        "videos": [
            {
                "clips": [
                    {
                        "clip_uid": tour.facts.uid("clip"),
                        "annotations": [
                            {"query_sets": {"1": {"is_valid": True, "object_title": title}}}
                            for title in tour.titles[:2]
                        ],
                    }
                ]
            }
            for tour in tours
        ]
    }


def test_contents_name_what_a_clip_shows_what_a_query_asks_and_twins():
    tours = read_tours(SETS / "made_dev.json")
    shown = what_is_shown(tours, annotated(tours))
    first = shown["clips"][tours[0].facts.uid("clip")]
    assert len(first) == len(tours[0].titles)
    assert not any(name.startswith("clutter") for name in first)
    assert shown["queries"]["v0-c0-a0-q1"] == named(tours[0])[0].asset.identity
    assert shown["queries"]["v3-c0-a1-q1"] == named(tours[3])[1].asset.identity
    assert all(a.split("-")[:2] == b.split("-")[:2] and a != b for a, b in shown["twins"])
    assert len(shown["twins"]) == 8 * 4


def test_recoloured_objects_of_the_wheels_are_twins():
    tours = read_tours(SETS / "holdout2.json")
    twins = {frozenset(pair) for pair in what_is_shown(tours, annotated(tours))["twins"]}
    assert frozenset({"glazed_rim_porcelain_ramekin", "red_ramekin"}) in twins
    assert frozenset({"butter", "green_butter"}) in twins
    assert frozenset({"green_ketchup", "ketchup@0.41"}) not in twins  # nearly the same colour


def test_an_unknown_set_is_refused_with_those_that_there_are():
    with pytest.raises(TourError, match="no set is called 'moon'; there are holdout"):
        read_tours(SETS / "moon.json")
