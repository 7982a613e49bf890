"""Fitting the statistics of the embedded encoder."""

from __future__ import annotations

import pytest
import torch

from ren_core.encoders.whitening import Moments, whitening_of
from ren_core.errors import ConfigError


def test_whitening_decorrelates():
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(4000, 3, generator=generator) * torch.tensor([10.0, 1.0, 0.1]) + 5
    moments = Moments(3)
    for part in vectors.split(1500):
        moments.update(part)
    whitening = whitening_of(moments, 2)
    white = (vectors - whitening.mean) @ whitening.projection
    covariance = torch.cov(white.T)
    shrunk = 0.1 * vectors.var(0).mean()
    expected = vectors.var(0)[:2] / (vectors.var(0)[:2] + shrunk)
    torch.testing.assert_close(covariance.diag(), expected, rtol=0.02, atol=0.02)
    assert abs(covariance[0, 1]) < 0.02
    with pytest.raises(ConfigError, match=r"1\.\.3, got 4"):
        whitening_of(moments, 4)
