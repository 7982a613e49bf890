"""Baselines on frames in memory: a textured square that comes and goes."""

from __future__ import annotations

from functools import partial

import cv2
import numpy as np
import pytest

from ren_core.errors import ConfigError, DataError
from ren_core.geometry import box_iou
from tests.clips import FRAMES, RED, FramesInMemory, H, W, clip_json, query_set, write_annotations
from tests.synthetic import write_video
from vq2d.ego4d.annotations import load_annotations
from vq2d.job.baselines import TemplateConfig, answer_queries, hold_centre, match_template
from vq2d.job.task import RunReport, Trouble
from vq2d.types import QueryKey, VisualQuery

SHOWN = [(3, 8), (15, 21)]
TEXTURE = cv2.resize(np.random.default_rng(1).integers(0, 255, (4, 4, 3), np.uint8), (16, 16))


def place(i, side=16):
    left = 8 + 2 * (i % 12)
    return np.array([left, 10, left + side, 10 + side], np.float32)


def frame(i, side=16):
    image = cv2.resize(np.random.default_rng(2).integers(90, 150, (5, 7, 3), np.uint8), (W, H))
    if any(a <= i < b for a, b in SHOWN):
        x1, y1, x2, y2 = place(i, side).astype(int)
        image[y1:y2, x1:x2] = cv2.resize(TEXTURE, (side, side))
    return image


@pytest.fixture(scope="module")
def frames():
    return FramesInMemory([frame(i) for i in range(FRAMES)])


def query(crop_frame=4, query_frame=28, box=None):
    box = place(crop_frame) if box is None else np.array(box, np.float32)
    return VisualQuery(QueryKey(0, 0, 0, "1"), query_frame, crop_frame, box, (H, W))


def span(track):
    return track.start_frame, track.end_frame


def test_the_held_box_is_the_middle_of_every_frame_before_the_query(frames):
    track = hold_centre(query(query_frame=12), frames)
    assert span(track) == (0, 12)
    assert (track.boxes_xyxy == [W / 4, H / 4, 3 * W / 4, 3 * H / 4]).all()
    assert span(hold_centre(query(query_frame=99), frames)) == (0, FRAMES)


@pytest.mark.parametrize(
    "baseline", [hold_centre, partial(match_template, config=TemplateConfig())]
)
def test_no_frame_before_the_query_is_no_answer(frames, baseline):
    assert baseline(query(query_frame=0), frames) is None
    assert baseline(query(), FramesInMemory([])) is None


@pytest.mark.parametrize("side", [320, 64])
def test_the_last_peak_is_followed_while_it_matches(frames, side):
    track = match_template(query(), frames, TemplateConfig(side=side))
    assert span(track) == (15, 21)
    assert 0.8 < track.score <= 1.0
    expected = np.stack([place(i) for i in range(15, 21)])
    assert box_iou(track.boxes_xyxy, expected).min() > 0.6


def test_the_frames_around_the_crop_can_be_left_out(frames):
    asked = query(crop_frame=17, query_frame=28)
    assert span(match_template(asked, frames, TemplateConfig())) == (15, 21)
    assert span(match_template(asked, frames, TemplateConfig(skip_around_crop=6))) == (3, 8)


def test_a_peak_must_come_near_the_highest_one(frames):
    faint = [image.copy() for image in frames.images]
    for i in range(15, 21):
        x1, y1, x2, y2 = place(i).astype(int)
        faint[i][y1:y2, x1:x2] = TEXTURE // 2 + TEXTURE[::-1] // 8
    other = FramesInMemory(faint)

    def found(**settings):
        return span(match_template(query(), other, TemplateConfig(**settings)))

    assert found(keep_ratio=0.99, track_ratio=0.85) == (3, 8)
    assert found(keep_ratio=0.85, track_ratio=0.85) == (15, 21)
    assert found(keep_ratio=0.99, track_ratio=0.0) == (0, 28)


def test_an_object_of_another_size_is_matched_at_its_scale():
    frames = FramesInMemory([frame(i, 16 if i < 10 else 32) for i in range(FRAMES)])
    track = match_template(query(), frames, TemplateConfig(scales=(1.0, 2.0)))
    assert span(track) == (15, 21)
    assert box_iou(track.boxes_xyxy[0], place(15, 32)) > 0.8


def test_a_template_is_never_larger_than_the_frame(frames):
    whole = query(box=(0, 0, W, H))
    track = match_template(whole, frames, TemplateConfig(scales=(1.0, 10.0)))
    np.testing.assert_allclose(track.boxes_xyxy[0], [0, 0, W, H])


def test_a_crop_outside_the_frame_is_refused(frames):
    with pytest.raises(DataError, match="shows nothing of its frame"):
        match_template(query(box=(W + 1, 0, W + 9, 8)), frames, TemplateConfig())
    with pytest.raises(ConfigError, match=r"template\.scales must be"):
        TemplateConfig(scales=())


def test_one_bad_clip_or_query_costs_no_other(tmp_path):
    sets = {"1": query_set(RED, 4, 28, (15, 21)), "2": query_set(RED, 4, 28, (15, 21))}
    sets["2"]["visual_crop"]["x"] = 2 * W
    clips = [clip_json("absent", {"1": sets["1"]}), clip_json("one", sets)]
    write_annotations(tmp_path, clips)
    (tmp_path / "v2/clips").mkdir()
    write_video(tmp_path / "v2/clips/one.mp4", [frame(i) for i in range(FRAMES)])
    annotations = load_annotations(tmp_path / "v2/annotations/vq_val.json")
    report = RunReport(asked=tuple(q.key for q in annotations.query_sets))
    baseline = partial(match_template, config=TemplateConfig())
    tracks = answer_queries(annotations, report, baseline, root=tmp_path)
    assert [str(key) for key in tracks] == ["v0-c1-a0-q1"]
    reasons = {str(key): text for key, text in report.reasons(Trouble.NOT_ANSWERED).items()}
    assert "absent.mp4 is missing" in reasons["v0-c0-a0-q1"]
    assert "shows nothing of its frame" in reasons["v0-c1-a0-q2"]
