"""Masks and tracks from REN's regions, with tiny models and a saliency map that knows red."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ren_core.geometry import box_iou
from tests.moving_square import MOVING, Clip, H, W, picture
from tests.tiny import tiny_ren
from vq2d.masking.appearance import pooled_appearances
from vq2d.masking.base import Place
from vq2d.masking.region import RegionConfig, RegionSegmenter
from vq2d.masking.region_tracker import RegionTracker, RegionTrackerConfig


def red_is_salient(images, side):
    return [((i[..., 0] > 150) & (i[..., 1] < 90)).astype(np.float32) for i in images]


def nothing_is_salient(images, side):
    return [np.zeros(i.shape[:2], np.float32) for i in images]


def segmenter(saliency=red_is_salient, **settings):
    return RegionSegmenter(tiny_ren(), saliency, RegionConfig(similarity=0.6, **settings))


@pytest.mark.parametrize("box", [(50, 40, 66, 56), (5, 3, 85, 80), (100, 70, 120, 90)])
def test_a_point_finds_the_outline_of_its_thing(box):
    point = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
    segment = segmenter().from_point(picture(box), point)
    assert segment.box_xyxy.tolist() == list(box)
    assert segment.mask.sum() == (box[2] - box[0]) * (box[3] - box[1])


def test_without_saliency_the_patches_own_box_is_the_answer():
    blind = segmenter(nothing_is_salient)
    box = np.array([48, 36, 72, 60], np.float32)
    segment = blind.from_point(picture(box), (60, 48))
    assert float(box_iou(segment.box_xyxy, box)) > 0.3
    assert segment.score == 0  # nothing speaks for it
    seeing = segmenter().from_point(picture(box), (60, 48))
    assert seeing.score > 0.3


def test_places_are_segmented_together_as_they_are_alone():
    boxes = [(50, 40, 66, 56), (5, 3, 85, 80), (100, 70, 120, 90)]
    places = [Place(picture(b), ((b[0] + b[2]) / 2, (b[1] + b[3]) / 2)) for b in boxes]
    calls, views = [], []

    def counting(images, side):
        calls.append(len(images))
        return red_is_salient(images, side)

    together = segmenter(counting)
    encode = together.ren.encode
    together.ren.encode = lambda images, *args, **settings: (
        views.append(len(images)) or encode(images, *args, **settings)
    )
    look = together.appearance_of([places[0].image], [places[0].image[..., 0] > 150])
    for appearance in (None, look):
        calls.clear()
        found = together.from_points(places, appearance=appearance)
        assert len(calls) == 1  # one of the saliency network for all outlines
        for segment, place in zip(found, places, strict=True):
            alone = segmenter().from_point(place.image, place.point_xy, appearance=appearance)
            assert (segment.mask == alone.mask).all()
            assert segment.score == pytest.approx(alone.score, abs=1e-5)
    assert len(views) == 2  # one call of the encoder for all windows of all places
    assert together.from_points([]) == []


def test_windows_that_propose_the_same_box_are_outlined_once():
    outlined = []

    def counting(images, side):
        outlined.append(len(images))
        return red_is_salient(images, side)

    place = Place(picture((5, 3, 115, 85)), (60, 45))
    segmenter(counting, zooms=(0.5, 0.51)).from_points([place])
    segmenter(counting, zooms=(0.25, 0.5)).from_points([place])
    assert outlined == [1, 2]


def test_boxes_are_filled_together_as_they_are_alone():
    boxes = [np.array(b, np.float32) for b in [(48, 38, 69, 58), (-9, -9, 0, 0), (3, 2, 87, 84)]]
    images = [picture((50, 40, 66, 56)), picture(None), picture((5, 3, 85, 80))]
    for found, image, box in zip(segmenter().from_boxes(images, boxes), images, boxes, strict=True):
        alone = segmenter().from_box(image, box)
        assert (found is None) == (alone is None)
        assert found is None or (found.mask == alone.mask).all()


def test_a_box_is_trimmed_to_the_thing_in_it():
    box = np.array([50, 40, 66, 56], np.float32)
    loose = box + np.array([-3, -3, 3, 3], np.float32)
    segment = segmenter().from_box(picture(box), loose)
    assert segment.box_xyxy.tolist() == box.tolist()
    nothing = segmenter().from_box(picture(None), loose)
    assert float(box_iou(nothing.box_xyxy, loose)) > 0.6  # an ellipse in it
    assert segmenter().from_box(picture(box), np.array([-9, -9, 0, 0], np.float32)) is None


def test_appearance_is_of_the_masked_part():
    ren = tiny_ren()
    box = (50, 40, 66, 56)
    image = picture(box)
    red = image[..., 0] > 150
    inside, outside = pooled_appearances(ren, [image, image], [red, ~red])
    assert float(inside.norm()) == pytest.approx(1, abs=1e-5)
    other = picture((10, 10, 26, 26))
    (elsewhere,) = pooled_appearances(ren, [other], [other[..., 0] > 150])
    assert float(inside @ elsewhere) > 0.95 > float(inside @ outside)
    assert torch.isfinite(pooled_appearances(ren, [image], [np.zeros((H, W), bool)])).all()


@pytest.mark.parametrize(("stop", "expected"), [(12, range(5, 10)), (-1, range(5, 1, -1))])
def test_a_thing_is_followed_until_it_disappears(stop, expected):
    tracker = RegionTracker(segmenter(), RegionTrackerConfig(lost=0.9, min_view=0.5))
    steps = list(tracker.track(Clip(MOVING), 5, np.array(MOVING[5], np.float32), stop))
    assert [s.frame_idx for s in steps] == list(expected)
    for step in steps:
        assert float(box_iou(step.box_xyxy, np.array(MOVING[step.frame_idx], np.float32))) > 0.9
    assert steps[0].score == 1.0


@pytest.mark.parametrize("stride", [1, 2])
def test_both_ways_in_step_are_each_way_alone(stride):
    settings = RegionTrackerConfig(lost=0.9, min_view=0.5, stride=stride)
    looks = []

    def counting(images, side):
        looks.append(len(images))
        return red_is_salient(images, side)

    box, clip = np.array(MOVING[5], np.float32), Clip(MOVING)
    tracker = RegionTracker(segmenter(counting), settings)
    both = list(tracker.track_both(clip, 5, box, (12, -1)))
    steps = {step.frame_idx: step for step in both}
    assert len(steps) == len(both)
    assert looks[0] == 1  # the start is outlined once
    assert 2 in looks
    for stop in (12, -1):
        for step in RegionTracker(segmenter(), settings).track(clip, 5, box, stop):
            np.testing.assert_allclose(steps[step.frame_idx].box_xyxy, step.box_xyxy, atol=1e-3)
    assert sorted(steps) == list(range(2, 10))


@pytest.mark.parametrize(("drop", "last"), [(0.0, 9), (0.95, 6)])
def test_a_sudden_drop_of_similarity_ends_a_track(drop, last):
    """From frame 7 on a blue square is where the red one would be."""

    class Replaced(Clip):
        def __getitem__(self, i):
            return picture(None, self.boxes[i]) if i > 6 else picture(self.boxes[i])

    settings = RegionTrackerConfig(lost=-1, drop=drop, min_view=0.5)
    tracker = RegionTracker(segmenter(), settings)
    steps = list(tracker.track(Replaced(MOVING), 2, np.array(MOVING[2], np.float32), 10))
    assert steps[-1].frame_idx == last


@pytest.mark.parametrize("stride", [2, 3])
def test_skipped_frames_are_interpolated_and_the_end_is_exact(stride):
    settings = RegionTrackerConfig(lost=0.9, min_view=0.5, stride=stride)
    tracker = RegionTracker(segmenter(), settings)
    steps = list(tracker.track(Clip(MOVING), 2, np.array(MOVING[2], np.float32), 12))
    assert [s.frame_idx for s in steps] == list(range(2, 10))
    for step in steps:
        assert float(box_iou(step.box_xyxy, np.array(MOVING[step.frame_idx], np.float32))) > 0.9


def test_tracking_stops_where_it_is_told():
    tracker = RegionTracker(segmenter(), RegionTrackerConfig(lost=0.9, min_view=0.5))
    steps = tracker.track(Clip(MOVING), 5, np.array(MOVING[5], np.float32), 7)
    assert [s.frame_idx for s in steps] == [5, 6]
