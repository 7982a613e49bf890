"""Label maps, masks and their share of grid cells."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ren_core import regions
from ren_core.errors import ShapeError


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 999))
def test_grid_shares_keep_the_area(h, w, seed):
    mask = np.random.default_rng(seed).random((7, 12)) < 0.4
    share = regions.mask_on_grid(mask, (h, w))
    assert share.shape == (h, w)
    assert -1e-6 <= share.min() <= share.max() <= 1 + 1e-6
    assert share.mean() == pytest.approx(mask.mean(), abs=1e-6)


def test_regions_are_unions_of_cells():
    labels = np.array([[0, 0, 1], [2, 2, 1]], np.int32)
    of = regions.region_labels(labels, np.array([0, -1, 0]))
    assert of.tolist() == [[0, 0, -1], [0, 0, -1]]
    assert regions.region_masks(of, 1).sum() == 4
    with pytest.raises(ShapeError, match="prompt 2"):
        regions.region_labels(labels, np.array([0, 1]))
