"""SAM 2 of the true architecture, small."""

import pytest


@pytest.fixture(scope="session")
def hiera():
    pytest.importorskip("sam2")
    from ren_core.sam2.model import Sam2Model

    return Sam2Model.random("sam2.1_hiera_t", 0, device="cpu", image_size=128).network
