from __future__ import annotations

import numpy as np
import pytest

from ren_core.errors import ShapeError
from vq2d.video.writer import write_h264


@pytest.mark.parametrize("sizes", [[(31, 64)], [(32, 63)], [(32, 64), (64, 32)]])
def test_writer_refuses_odd_or_changing_sizes(tmp_path, sizes):
    images = [np.zeros((*size, 3), np.uint8) for size in sizes]
    with pytest.raises(ShapeError, match=rf"image {len(sizes)} for q\.mp4 has size"):
        write_h264(tmp_path / "q.mp4", images, fps=5)
    assert not list(tmp_path.iterdir())
