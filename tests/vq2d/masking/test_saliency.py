"""The saliency network in batches and by either engine: the same outlines."""

from __future__ import annotations

import numpy as np
import pytest

from tests.patterns import photo
from vq2d.masking.saliency import BATCH, Saliency

pytestmark = pytest.mark.weights


@pytest.fixture(scope="module")
def pictures():
    """More pictures than a batch holds, of different sizes, with a bright disc each."""
    found = []
    for i in range(BATCH + 2):
        image = photo(i, (50 + 3 * i, 90 - 2 * i))
        H, W = image.shape[:2]
        y, x = np.ogrid[:H, :W]
        image[(y - H / 2) ** 2 + (x - W / 3) ** 2 < 14**2] = (230, 200, 40)
        found.append(image)
    return found


@pytest.fixture(scope="module")
def plain(pictures):
    return Saliency()(pictures, 96)


def test_batches_give_what_single_crops_give(pictures, plain):
    network = Saliency()
    assert [m.shape for m in plain] == [p.shape[:2] for p in pictures]
    for picture, found in zip(pictures, plain, strict=True):
        (alone,) = network([picture], 96)
        np.testing.assert_allclose(found, alone, atol=1e-3)
        assert alone.min() >= 0
        assert alone.max() > 0.9
    assert network([], 96) == []


@pytest.mark.engine
def test_openvino_draws_the_outlines_of_onnxruntime(pictures, plain):
    pytest.importorskip("openvino")
    for found, expected in zip(Saliency(engine="openvino")(pictures, 96), plain, strict=True):
        one, other = found > 0.5, expected > 0.5
        assert (one & other).sum() / (one | other).sum() > 0.98
