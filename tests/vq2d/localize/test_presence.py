"""What a search finds becomes a probability, and that decides whether an answer is a guess."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.job import CONFIG
from vq2d.localize.belief import doubt_about
from vq2d.localize.presence import Evidence, PresenceConfig, evidence_of, probability
from vq2d.types import Candidate, FrameScores, Localization, ResponseTrack

SCORES = FrameScores(np.zeros(0, np.int32), np.zeros(0, np.float32), np.zeros((0, 2), np.float32))
TRACK = ResponseTrack(3, np.float32([[0, 0, 9, 9]]), 0.6)
FITTED = PresenceConfig(bias=-2.0, similarity=1.0, second=0.5, refined=2.0, colours=4.0)


def peak(similarity):
    return Candidate(0, (0.0, 0.0), similarity)


def refined(score, colours):
    return Candidate(0, (0.0, 0.0), 0.5, np.float32([0, 0, 9, 9]), score, colours)


def test_the_best_of_everything_and_the_second_peak_count():
    found = evidence_of([peak(0.4), peak(0.9), peak(0.7)], [refined(0.3, 0.8), refined(0.6, 0.1)])
    assert found == Evidence(similarity=0.9, second=0.7, refined=0.6, colours=0.8)


def test_a_single_peak_is_its_own_second():
    found = evidence_of([peak(0.9)], [refined(0.6, 0.5)])
    assert found is not None
    assert found.second == 0.9


@pytest.mark.parametrize(("peaks", "candidates"), [([], []), ([peak(0.9)], [])])
def test_nothing_found_is_no_evidence(peaks, candidates):
    assert evidence_of(peaks, candidates) is None
    assert probability(None, FITTED) == 0
    assert probability(None, PresenceConfig()) is None


@pytest.mark.parametrize("name", ["similarity", "second", "refined", "colours"])
def test_every_piece_of_evidence_adds_its_own_log_odds(name):
    none = Evidence(similarity=0.0, second=0.0, refined=0.0, colours=0.0)
    odds = [
        p / (1 - p)
        for evidence in (none, replace(none, **{name: 1.0}))
        if (p := probability(evidence, FITTED)) is not None
    ]
    assert odds[0] == pytest.approx(np.exp(-2.0))
    assert odds[1] / odds[0] == pytest.approx(np.exp(getattr(FITTED, name)))


def test_extreme_evidence_stays_a_probability():
    huge = Evidence(similarity=1.0, second=1.0, refined=1.0, colours=1.0)
    assert probability(huge, PresenceConfig(bias=1000.0)) == pytest.approx(1.0)
    assert probability(huge, PresenceConfig(bias=-1000.0)) == pytest.approx(0.0)


def found(present=None, track=TRACK):
    return Localization(track, SCORES, (), None, 1, present=present)


@pytest.mark.parametrize(("present", "is_guess"), [(0.5, False), (0.49, True), (0.0, True)])
def test_below_one_half_an_answer_is_a_guess(present, is_guess):
    doubt = doubt_about(found(present), CONFIG)
    assert (doubt is not None) == is_guess
    if doubt is not None:
        assert f"only {present:.2f}" in doubt


@pytest.mark.parametrize(("floor", "is_guess"), [(0.6, False), (0.7, True)])
def test_without_a_probability_the_floor_decides(floor, is_guess):
    config = replace(CONFIG, refine=replace(CONFIG.refine, floor=floor, crop_factors=(1.0,)))
    assert (doubt_about(found(), config) is not None) == is_guess


def test_without_a_track_there_is_always_doubt():
    assert doubt_about(found(0.9, track=None), CONFIG) == "no candidate was good enough"
