"""Two videos, of a red and of a green square."""

import pytest

from eval.reid.protocol import read_videos
from tests.eval.reid.coloured_videos import GREEN, RED, picture, write_video


@pytest.fixture
def videos(tmp_path):
    reds = [picture((RED, 8, 8 * i)) for i in range(6)]
    greens = [picture((GREEN, 8 * i, 16)) for i in range(6)]
    write_video(tmp_path, "red", reds, [(8, 8 * i) for i in range(6)])
    write_video(tmp_path, "green", greens, [(8 * i, 16) for i in range(6)])
    return read_videos(tmp_path)
