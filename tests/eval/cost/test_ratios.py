"""Ratios of the mask generators to REN."""

from eval.cost.ratios import BASE, cost_ratios
from tests.eval.cost.fakes import REN_FACTS, SAM_FACTS, measured_point


def test_ratios_are_taken_at_the_usual_side_or_the_largest_of_both():
    seconds_of_ren = {0: 3.0, 16: 1.0, 32: 2.0, 64: 9.0}
    ours = [measured_point(BASE, side, seconds) for side, seconds in seconds_of_ren.items()]
    seconds_of_sam = {0: 5.0, 16: 40.0, 32: 100.0}
    theirs = [measured_point("SAM", side, seconds) for side, seconds in seconds_of_sam.items()]
    (ratio,) = cost_ratios([REN_FACTS, SAM_FACTS], ours + theirs)
    assert (ratio.method, ratio.per_side) == ("SAM", 32)
    assert (ratio.seconds, ratio.seconds_with_encoder) == (50.0, 20.0)
    assert (ratio.parameters, ratio.parameters_with_encoder) == (10.0, 4.0)
    assert "50.0 times the seconds and 10.0 times the parameters" in ratio.sentence()
    assert "20.0 and 4.0 times with the patch encoder" in ratio.sentence()
    (ratio,) = cost_ratios([REN_FACTS, SAM_FACTS], ours[1:] + theirs[:2])
    assert (ratio.per_side, ratio.seconds, ratio.seconds_with_encoder) == (16, 40.0, None)
    assert "no figure" in ratio.sentence()
    assert cost_ratios([SAM_FACTS], theirs) == []
    assert cost_ratios([REN_FACTS, SAM_FACTS], ours + theirs[:1]) == []
