"""One object in one picture or several, its mask found or given."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ren_core.errors import DataError, ShapeError
from tests.clips import BLUE, RED, frame, place
from tests.job import CONFIG, tiny_localizer
from vq2d.localize.colour import colour_histogram
from vq2d.localize.query import object_tokens, object_vectors
from vq2d.types import ObjectView, Question
from vq2d.video.crops import zoom_crop


@pytest.fixture(scope="module")
def models():
    return tiny_localizer().models


def red(i=4, mask=None):
    return ObjectView(frame(i), place(RED, i), mask)


def tokens(models, *views):
    return object_tokens(views, models, CONFIG.query)


def test_several_views_are_those_of_each_alone(models):
    views = red(4), red(16), ObjectView(frame(10), place(BLUE, 10))
    alone = [tokens(models, view) for view in views]
    together = tokens(models, *views)
    assert torch.equal(together.vectors, torch.cat([one.vectors for one in alone]))
    looks = torch.cat([one.appearance.vectors for one in alone])
    assert torch.equal(together.appearance.vectors, looks)
    assert len(looks) == 3
    mean = sum(one.colours.astype(float) for one in alone) / 3
    np.testing.assert_allclose(together.colours, mean, atol=1e-6)
    assert together.colours.dtype == np.float32
    assert torch.equal(object_vectors(views[:1], models, CONFIG.query), alone[0].vectors)


def test_one_view_has_the_colours_and_the_look_of_its_mask_to_the_bit(models):
    view = red()
    window = zoom_crop(view.box_xyxy, (64, 96), max(CONFIG.query.crop_factors))
    picture = window.cut(view.picture)
    mask = models.segmenter.from_box(picture, window.box_to_crop(view.box_xyxy)).mask
    one = tokens(models, view)
    assert (one.colours == colour_histogram(picture, mask)).all()
    look = models.segmenter.appearance_of([picture], [mask])
    assert torch.equal(one.appearance.vectors, look.vectors)


def test_a_given_mask_replaces_the_segmenter(models, monkeypatch):
    picture = frame(4)
    mask = (picture == RED).all(axis=2)
    found, given = tokens(models, red()), tokens(models, red(mask=mask))
    assert torch.equal(given.vectors, found.vectors)  # the segmenter finds the same
    assert torch.equal(given.appearance.vectors, found.appearance.vectors)

    def fail(*_):
        raise AssertionError("the segmenter was asked")

    monkeypatch.setattr(type(models.segmenter), "from_box", fail)
    _, y1, x2, y2 = place(RED, 4).astype(int)
    beside = np.zeros_like(mask)
    beside[y1:y2, x2 - 1 : x2 + 8] = True  # mostly ground
    other = tokens(models, red(mask=beside))
    assert not torch.equal(other.vectors, given.vectors)
    assert np.minimum(other.colours, given.colours).sum() < 0.5
    assert torch.equal(tokens(models, red(mask=mask)).vectors, given.vectors)


def test_views_that_make_no_sense_are_refused(models):
    with pytest.raises(ShapeError, match=r"must have that shape, got \(3, 4\)"):
        red(mask=np.ones((3, 4), bool))
    with pytest.raises(DataError, match="needs a picture of the object, and there is none"):
        Question((), 9, None)
    outside = np.array([200, 0, 210, 9], np.float32)
    with pytest.raises(DataError, match="shows nothing of the frame of 96x64 pixels"):
        tokens(models, red(), ObjectView(frame(0), outside))
