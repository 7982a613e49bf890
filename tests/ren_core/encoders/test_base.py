"""What all encoders share: squashing, normalisation, position tables."""

from __future__ import annotations

import pytest
import torch

from ren_core.encoders.base import EncoderSpec, normalise, resample_positions, squash
from ren_core.errors import ShapeError


def test_squash_does_not_keep_the_aspect_ratio():
    wide = torch.zeros(1, 3, 4, 8)
    wide[..., 4:] = 1  # the right half is white
    assert squash(wide, 4)[0, 0].mean() == pytest.approx(0.5)
    assert squash(wide, 4)[0, 0, :, 0].max() < 0.1
    assert squash(wide, 4)[0, 0, :, 3].min() > 0.9


def test_squash_takes_float_rgb_only():
    with pytest.raises(ShapeError, match="uint8"):
        squash(torch.zeros(1, 3, 4, 4, dtype=torch.uint8), 4)
    with pytest.raises(ShapeError, match=r"\(1, 1, 4, 4\)"):
        squash(torch.zeros(1, 1, 4, 4), 4)


def test_normalise_by_hand():
    spec = EncoderSpec(
        name="x", input_size=2, patch_size=1, dim=1, mean=(0.5, 0.0, 0.0), std=(0.5, 1.0, 2.0)
    )
    found = normalise(torch.ones(1, 3, 2, 2), spec)[0, :, 0, 0]
    torch.testing.assert_close(found, torch.tensor([1.0, 1.0, 0.5]))


def test_position_table_is_resampled_on_the_grid_only():
    ramp = torch.arange(4.0).repeat(4, 1).reshape(1, 16, 1)
    table = torch.cat([torch.full((1, 1, 1), 9.0), ramp], dim=1)
    assert resample_positions(table, 4) is table
    twice = resample_positions(table, 8)
    assert twice.shape == (1, 65, 1)
    assert twice[0, 0, 0] == 9
    square = twice[0, 1:, 0].reshape(8, 8)
    torch.testing.assert_close(square[:, 3], torch.full((8,), 1.296875))  # cubic kernel by hand
    shifted = resample_positions(table, 8, offset=0.1)
    assert shifted.shape == twice.shape
    assert not torch.equal(shifted, twice)
