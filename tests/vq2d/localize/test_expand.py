"""Which tracked frames become query vectors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.clips import BLUE, FramesInMemory, frame, place
from tests.clips import RED as COLOUR
from tests.job import CONFIG, tiny_localizer
from vq2d.localize.expand import ExpandConfig, more_query_vectors, sharpness
from vq2d.localize.hunt import Hunt
from vq2d.localize.query import object_tokens
from vq2d.types import ObjectView, Question, ResponseTrack

TAKEN = ExpandConfig(similarity=-1.0, sharpness=0.0, min_side=1.0, judged_at=None)
ZOOMS = len(CONFIG.query.crop_factors)


@pytest.fixture(scope="module")
def taken():
    """The number of frames of a track of six that a configuration takes."""
    frames = FramesInMemory([frame(i) for i in range(21)])
    models = tiny_localizer().models
    views = (ObjectView(frames[4], place(COLOUR, 4)),)
    target = object_tokens(views, models, CONFIG.query)
    hunt = Hunt(Question(views, 21, 4), target, frames, [])

    def count(where=COLOUR, **changes):
        config = replace(TAKEN, **changes)
        boxes = np.stack([place(where, i) for i in range(15, 21)])
        track = ResponseTrack(15, boxes, 1.0)
        return len(more_query_vectors(track, hunt, models, CONFIG.query, config)) / ZOOMS

    return count


def test_every_tracked_frame_or_some_of_them(taken):
    assert taken() == 6
    assert taken(max_frames=2) == 2


def test_size_is_judged_in_pixels_of_the_shrunk_frame(taken):
    assert taken(min_side=12.0) == 6  # the boxes have 16 pixels, frames are 64 x 96
    assert taken(min_side=12.0, judged_at=(32, 96)) == 0
    assert taken(min_side=7.0, judged_at=(32, 96)) == 6
    assert taken(min_side=12.0, judged_at=(288, 512)) == 6  # smaller frames stay as they are


def test_sharpness_is_judged_on_the_shrunk_frame(taken):
    image = frame(15)
    whole, half = sharpness(image), sharpness(image, 0.5)
    assert half > whole  # shrinking sharpens
    between = (whole + half) / 2
    assert taken(sharpness=between) == 0
    assert taken(sharpness=between, judged_at=(32, 48)) == 6


def test_vectors_unlike_the_query_are_left_out(taken):
    assert taken(similarity=0.9) == 6
    background = BLUE  # is not there while red is
    assert taken(background) == 6
    assert taken(background, similarity=0.9) == 0
