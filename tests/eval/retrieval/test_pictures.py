"""Queries chosen for the pictures."""

from eval.retrieval.pictures import spread


def test_pictures_are_spread_over_the_queries():
    assert spread([4, 5, 6], 9) == [4, 5, 6]
    assert spread([], 3) == spread([1], 0) == []
