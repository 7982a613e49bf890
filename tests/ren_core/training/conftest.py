"""Pictures, cached views and one thread for the tests of training."""

import pytest

from ren_core.training.batches import CachedBatches, CachedSource
from tests.training_cases import CONFIG, quarters_cache, write_quarters


@pytest.fixture(autouse=True)
def _one_thread(one_thread):
    """In all of these tests."""


@pytest.fixture(scope="session")
def quarters(tmp_path_factory):
    """Folder of six pictures with four coloured quarters each."""
    root = tmp_path_factory.mktemp("quarters")
    write_quarters(root, 24)
    return root


@pytest.fixture
def batches(quarters, tmp_path):
    """Batches of the training part and of the part held out."""
    source = CachedSource(cache=quarters_cache(quarters, tmp_path / "cache"), held_out_every=6)
    return (
        CachedBatches([source], 2, CONFIG.sampling, 0),
        CachedBatches([source], 1, CONFIG.sampling, 0, held_out=True),
    )
