"""Images of all accepted kinds become one; others are refused."""

from __future__ import annotations

import pytest
import torch

from ren_core.errors import ShapeError
from ren_core.images import as_float_images


def test_images_of_all_accepted_kinds_agree():
    byte = torch.randint(0, 256, (2, 3, 4, 5), dtype=torch.uint8)
    floats = byte.float() / 255
    for images in (byte, floats, floats.double(), list(byte)):
        for got, wanted in zip(as_float_images(images), floats, strict=True):
            torch.testing.assert_close(got, wanted)
    grey = as_float_images(byte[:, :1])
    assert grey[0].shape == (3, 4, 5)
    assert torch.equal(grey[0][0], grey[0][2])


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.zeros(3, 4, 4), "add a batch axis"),
        (torch.zeros(0, 3, 4, 4), "batch is empty"),
        (torch.zeros(1, 3, 0, 4), "image 0 is empty"),
        (torch.zeros(1, 4, 4, 4), "alpha"),
        (torch.full((1, 3, 2, 2), float("nan")), "NaN"),
        (torch.full((1, 3, 2, 2), float("inf")), "NaN or infinite"),
        (torch.full((1, 3, 2, 2), 255.0), r"0..1, image 0 lies in 255"),
        (torch.full((1, 3, 2, 2), -0.5), "lies in -0.5"),
        (torch.zeros((1, 3, 2, 2), dtype=torch.int64), "int64"),
    ],
)
def test_bad_images_are_refused(images, message):
    with pytest.raises(ShapeError, match=message):
        as_float_images(images)
