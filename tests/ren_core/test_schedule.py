"""The learning rate over the steps."""

from __future__ import annotations

import pytest

from ren_core.errors import ConfigError
from ren_core.schedule import learning_rate_factor


@pytest.mark.parametrize(("warmup", "total"), [(0, 1), (0, 5), (3, 50), (100, 1000)])
def test_learning_rate_ends_at_zero_exactly_once(warmup, total):
    factors = [learning_rate_factor(step, warmup, total) for step in range(total)]
    assert factors[-1] == 0.0
    assert all(f > 0 for f in factors[:-1])
    assert max(factors) <= 1
    rising, falling = factors[: warmup + 1], factors[warmup:]
    assert rising == sorted(rising)
    assert falling == sorted(falling, reverse=True)
    with pytest.raises(ConfigError, match="step"):
        learning_rate_factor(total, warmup, total)
