"""What the tests of pictures share."""

from __future__ import annotations

import pytest

from vq2d.video.pictures import read_picture


@pytest.fixture
def read(tmp_path):
    """Reads the bytes of a file of some name."""

    def call(data, name="picture.jpg"):
        (tmp_path / name).write_bytes(data)
        return read_picture(tmp_path / name)

    return call
