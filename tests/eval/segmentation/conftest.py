"""A tiny CamVid for the tests that train."""

import pytest

from tests.segmentation_sets import write_camvid


@pytest.fixture(scope="session")
def camvid(tmp_path_factory):
    return write_camvid(tmp_path_factory.mktemp("camvid"), count=6)
