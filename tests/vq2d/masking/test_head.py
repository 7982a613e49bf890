"""Masks drawn by a mask head that knows red, and tracks on them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from ren_core.geometry import box_iou
from ren_core.mask_model import DrawnMasks
from tests.moving_square import MOVING, RED, Clip, H, W, picture
from tests.tiny import tiny_ren
from vq2d.masking.base import Place
from vq2d.masking.head import MaskConfig, MaskSegmenter
from vq2d.masking.outline import Rough
from vq2d.masking.region_tracker import RegionTracker, RegionTrackerConfig

S = 64


class Painter:
    """Draws the red part of a picture, the blue part, and all that is not grey.

    It expects most of the part that fills most of the picture, and nothing of one that fills all.
    """

    encoder_name = "tiny"

    def __init__(self) -> None:
        self.calls: list[int] = []
        self.prompts: list = []

    def draw(self, images, prompts):
        self.calls.append(len(images))
        self.prompts += list(prompts)
        return [self._drawn(image) for image in images]

    def _drawn(self, image):
        red = (image[..., 0] > 150) & (image[..., 2] < 100)
        blue = (image[..., 2] > 150) & (image[..., 0] < 100)
        parts = [red, blue, red | blue]
        logits = [
            cv2.resize(p.astype(np.float32), (S, S), interpolation=cv2.INTER_AREA) - 0.5
            for p in parts
        ]
        shares = [p.mean() * (not p.all()) for p in parts]
        expected = np.array([share - 0.01 * i for i, share in enumerate(shares)], np.float32)
        order = np.argsort(-expected)
        return DrawnMasks(np.stack(logits)[order], expected[order], image.shape[:2])


def segmenter(**settings):
    return MaskSegmenter(tiny_ren(), Painter(), MaskConfig(**settings))


@pytest.mark.parametrize("box", [(50, 40, 66, 56), (5, 3, 85, 80), (100, 70, 120, 90)])
def test_a_point_finds_its_thing(box):
    point = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
    segment = segmenter().from_point(picture(box), point)
    assert float(box_iou(segment.box_xyxy, np.array(box, np.float32))) > 0.9
    assert segment.mask[int(point[1]), int(point[0])]
    assert segment.mask.shape == (H, W)


def test_likeness_to_the_query_decides_and_not_what_the_head_expects():
    red, blue = (20, 20, 40, 40), (50, 20, 90, 70)
    image = picture(red, blue)
    own = segmenter()
    look = own.appearance_of([image], [image[..., 0] > 150])
    place = Place(image, (38.0, 38.0))
    assert float(box_iou(own.from_points([place])[0].box_xyxy, np.array(red))) < 0.6
    chosen = own.from_points([place], appearance=look)[0]
    assert float(box_iou(chosen.box_xyxy, np.array(red, np.float32))) > 0.85


def test_places_are_drawn_together_as_they_are_alone():
    boxes = [(50, 40, 66, 56), (5, 3, 85, 80), (100, 70, 120, 90)]
    places = [Place(picture(b), ((b[0] + b[2]) / 2, (b[1] + b[3]) / 2)) for b in boxes]
    together = segmenter(passes=2)
    found = together.from_points(places)
    assert len(together.model.calls) == 3  # once for all windows, once for each pass
    for segment, place in zip(found, places, strict=True):
        alone = segmenter(passes=2).from_point(place.image, place.point_xy)
        assert (segment.mask == alone.mask).all()
        assert segment.score == alone.score
    assert together.from_points([]) == []


def test_a_second_pass_looks_closer_with_the_first_mask_as_prompt():
    own = segmenter(zooms=(1.0,), passes=1)
    own.from_point(picture((50, 40, 66, 56)), (58, 48))
    first, *_, last = own.model.prompts
    assert first.mask is None
    assert last.mask is not None
    assert max(last.mask.shape) == 24  # one and a half times the thing


def test_a_box_is_asked_in_a_window_around_it():
    box = np.array([50, 40, 66, 56], np.float32)
    own = segmenter(around=3.0)
    segment = own.from_box(picture(box), box + np.array([-3, -3, 3, 3], np.float32))
    assert float(box_iou(segment.box_xyxy, box)) > 0.9
    (prompt,) = own.model.prompts
    np.testing.assert_allclose(prompt.box_xyxy, [22, 22, 44, 44], atol=1)
    assert own.from_box(picture(None), box) is None


def test_the_box_of_another_frame_is_asked_for_where_it_was_moved_to_and_larger():
    box, own = (50, 40, 66, 56), segmenter(growth=1.5)
    coarse, moved = np.array([40, 30, 80, 70], np.float32), np.array([49, 41, 65, 57], np.float32)
    (segment,) = own.outlines([Rough(picture(box), coarse, (58, 48), moved)])
    assert float(box_iou(segment.box_xyxy, np.array(box, np.float32))) > 0.9
    (prompt,) = own.model.prompts
    assert prompt.points_xy is None
    sides = prompt.box_xyxy[2:] - prompt.box_xyxy[:2]
    np.testing.assert_allclose(sides, 24)


def test_the_first_picture_of_the_thing_goes_with_every_question():
    images = [picture((50, 40, 66, 56)), picture((10, 10, 40, 40))]
    own = segmenter(passes=1)
    look = own.appearance_of(images, [image[..., 0] > 150 for image in images])
    own.from_points([Place(images[0], (58, 48))], appearance=look)
    assert len(own.model.prompts) > len(own.config.zooms)  # the second pass too
    for prompt in own.model.prompts:
        assert prompt.reference is look.references[0]
        assert prompt.reference.patches.shape[1:] == prompt.reference.shares.shape
        assert 0 < prompt.reference.shares.mean() < 0.5  # of a window twice the thing
    own.from_point(images[0], (58, 48))
    assert own.model.prompts[-1].reference is None
    own.model.encoder_name = "another"  # than REN's, whose patches would mean nothing to the head
    own.from_point(images[0], (58, 48), appearance=look)
    assert own.model.prompts[-1].reference is None


def test_specks_beside_a_thing_do_not_widen_its_box():
    image = picture((50, 40, 66, 56))
    image[10:13, 10:13] = RED
    point = (58, 48)
    kept = segmenter(zooms=(1.0,), passes=0, speck=0.0).from_point(image, point)
    dropped = segmenter(zooms=(1.0,), passes=0, speck=0.25).from_point(image, point)
    assert kept.box_xyxy[0] < 20
    assert dropped.box_xyxy[0] > 45


@pytest.mark.parametrize(("stop", "expected"), [(12, range(5, 10)), (-1, range(5, 1, -1))])
def test_a_thing_is_followed_until_it_disappears(stop, expected):
    tracker = RegionTracker(segmenter(), RegionTrackerConfig(lost=0.9, min_view=0.5))
    steps = list(tracker.track(Clip(MOVING), 5, np.array(MOVING[5], np.float32), stop))
    assert [s.frame_idx for s in steps] == list(expected)
    for step in steps:
        true = np.array(MOVING[step.frame_idx], np.float32)
        assert float(box_iou(step.box_xyxy, true)) > 0.85
