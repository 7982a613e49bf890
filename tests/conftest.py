"""Where the tests find data beside the checkout, and what they skip without it."""

from __future__ import annotations

import os

import pytest
import torch

from tests.places import SHARED


@pytest.fixture(autouse=True)
def _few_threads():
    """Two threads in all: one for each of two processes that share the tests."""
    torch.set_num_threads(1 if "PYTEST_XDIST_WORKER" in os.environ else 2)


@pytest.fixture
def shared():
    """The folder of reference data beside the project; the test is skipped where it is absent."""
    if not SHARED.is_dir():
        pytest.skip("../shared is not beside this checkout")
    return SHARED


@pytest.fixture
def one_thread(_few_threads):
    """One thread of torch: a second one only waits where the matrices are tiny."""
    torch.set_num_threads(1)
