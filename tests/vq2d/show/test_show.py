from __future__ import annotations

import weakref
from dataclasses import replace

import av
import cv2
import numpy as np
import pytest

from ren_core.errors import DataError, ShapeError
from tests.views import GREY, ListFrames, is_near, make_view
from vq2d.show.curve import frame_limits
from vq2d.show.paint import PREDICTED, QUERY, TRUTH, paint_box, shorten, text_width
from vq2d.show.scene import (
    TAIL_FRAMES,
    VideoScene,
    draw_poster,
    draw_video,
    query_inset,
    shown_frames,
)
from vq2d.show.strip import STRIP_HEIGHT, TRUTH_TOP, TimelineStrip, legend_kinds
from vq2d.show.summary import best_candidates, choose_panels, draw_summary
from vq2d.show.view import box_at, similarity_range
from vq2d.types import Candidate, ObjectView, ResponseTrack


def decode(path):
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        facts = (stream.codec_context.name, stream.codec_context.pix_fmt, stream.average_rate)
        return facts, [f.to_ndarray(format="rgb24") for f in container.decode(stream)]


def test_video_has_the_right_form_and_boxes(tmp_path):
    path = tmp_path / "q.mp4"
    assert draw_video(make_view(), path, fps=8) == 40  # 30 searched and the tail
    facts, pictures = decode(path)
    assert facts == ("h264", "yuv420p", 8)
    assert len(pictures) == 40
    assert pictures[0].shape == (360 + STRIP_HEIGHT, 640, 3)
    # Frame pixel x is at 4 x: the left side of the predicted box lies at 160..162.
    assert is_near(pictures[5][160, 161], PREDICTED)
    assert is_near(pictures[10][160, 161], PREDICTED)
    for i in (4, 11):
        assert is_near(pictures[i][160, 161], (GREY,) * 3, 12)
    assert is_near(pictures[5][100, 240], (GREY,) * 3, 12)  # boxes are not filled
    left_side = pictures[5][130:280, 209]  # dashed: truth and gaps
    hits = sum(is_near(pixel, TRUTH) for pixel in left_side)
    assert 0.25 * len(left_side) < hits < 0.75 * len(left_side)
    assert pictures[35][340, 40].mean() < pictures[20][340, 40].mean() - 30  # dimmed
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    assert [p.name for p in tmp_path.iterdir()] == ["q.mp4"]


class CountedFrames(ListFrames):
    """Makes every image anew and knows how many are still held."""

    def __init__(self, count, size_hw):
        super().__init__(count, size_hw)
        self.held = weakref.WeakSet()
        self.most = 0

    def __iter__(self):
        for image in self.images:
            fresh = Handle(image)
            self.held.add(fresh)
            self.most = max(self.most, len(self.held))
            yield fresh.view(np.ndarray)
            del fresh


class Handle(np.ndarray):
    """An array that a WeakSet can hold: hashed by identity."""

    def __new__(cls, image):
        own = super().__new__(cls, image.shape, image.dtype)
        own[:] = image
        return own

    def __hash__(self):
        return id(self)

    def __eq__(self, other):
        return self is other


def test_video_holds_few_frames_at_a_time(tmp_path):
    frames = CountedFrames(40, (20, 30))
    draw_video(make_view(frames=frames), tmp_path / "q.mp4")
    assert 1 <= frames.most <= 3
    assert len([image for image in list(frames) if image.size]) == frames.most == 40


def test_summary_boxes_lie_on_the_objects(tmp_path):
    draw_summary(make_view(), tmp_path / "q.png")
    summary = cv2.imread(str(tmp_path / "q.png"))[..., ::-1]
    # The third of five pictures spans x 493.5..781, y 112..274 and shows 160 x 90 pixels.
    row = summary[112 + round(30 * 161.8 / 90)]
    for x, colour in ((40, PREDICTED), (80, PREDICTED), (140, None)):
        at = round(493.5 + x * 287.6 / 160)
        hits = [is_near(pixel, colour or PREDICTED, 25) for pixel in row[at - 2 : at + 3]]
        assert any(hits) == (colour is not None)
    column = summary[:, round(493.5 + 70 * 287.6 / 160) - 12 :][:, :24]
    at = 112 + round(72 * 161.8 / 90)
    assert any(is_near(pixel, TRUTH, 25) for pixel in column[at - 2 : at + 3].reshape(-1, 3))


def test_video_ends_shortly_after_the_query_frame():
    assert shown_frames(make_view(100)) == 30 + TAIL_FRAMES
    late = ResponseTrack(50, np.ones((5, 4), np.float32), 1.0)
    assert shown_frames(make_view(100, truth=late)) == 55 + TAIL_FRAMES


def test_a_picture_from_elsewhere_is_shown_as_it_is(tmp_path):
    given = np.zeros((40, 20, 3), np.uint8)
    given[:20], given[20:] = (250, 230, 20), (20, 60, 240)
    whole = np.array([0, 0, 20, 40], np.float32)
    view = make_view(
        query_views=[ObjectView(given, whole)], query_frame=40, crop_frame=40, truth=None
    )
    labels = [panel.label for panel in choose_panels(view)]
    assert labels[:2] == ["query picture", "predicted, start"]
    assert (choose_panels(view)[0].picture == given).all()
    assert choose_panels(view)[0].caption == "20 × 40 px"
    assert "crop frame" not in legend_kinds(view, 40)
    assert "crop frame" in legend_kinds(make_view(), 40)

    inset = query_inset(view, 100)
    assert inset.shape[:2] == (121, 56)  # 50 x 100 pixels, head, border
    assert is_near(inset[18 + 25, 28], given[0, 0], 3)
    assert is_near(inset[18 + 75, 28], given[-1, 0], 3)
    draw_poster(view, tmp_path / "q.jpg")
    poster = cv2.imread(str(tmp_path / "q.jpg"))[..., ::-1]
    top_right = poster[:150, 500:640].reshape(-1, 3)
    for colour in (given[0, 0], given[-1, 0]):
        assert sum(is_near(pixel, colour, 25) for pixel in top_right) > 1000

    draw_summary(view, tmp_path / "q.png")
    summary = cv2.imread(str(tmp_path / "q.png"))[..., ::-1]
    for colour in (given[0, 0], given[-1, 0]):
        assert (np.abs(summary.astype(int) - colour).max(axis=2) <= 3).sum() > 5000


def test_several_pictures_stand_side_by_side():
    views = []
    for colour, size_hw in (((250, 230, 20), (40, 40)), ((20, 60, 240), (20, 40))):
        given = np.full((*size_hw, 3), 128, np.uint8)
        given[5:15, 10:30] = colour
        views.append(ObjectView(given, np.array([10, 5, 30, 15], np.float32)))
    panels = choose_panels(make_view(query_views=views))[:2]
    assert [p.label for p in panels] == ["query 1 of 2", "query 2 of 2"]
    assert panels[1].caption == "20 × 10 px of 40 × 20"
    assert panels[1].boxes[0][0].tolist() == [10, 5, 30, 15]
    inset = query_inset(make_view(query_views=views), 100)  # 71 x 36 pixels each, a gap of 3
    assert inset.shape == (36 + 21, 71 + 3 + 71 + 6, 3)
    assert is_near(inset[18 + 18, 3 + 35], (250, 230, 20), 3)
    assert is_near(inset[18 + 18, 3 + 74 + 35], (20, 60, 240), 3)
    assert len(choose_panels(make_view(query_views=views * 5))) == 3 + 3
    assert query_inset(make_view(query_views=views * 5), 100).shape[1] < 200


def one_box(*box_xyxy):
    return ResponseTrack(0, np.array([box_xyxy], np.float32), 0.1)


ODD = {
    "no answer": {"track": None},
    "no truth": {"truth": None},
    "nothing known": {
        "track": None,
        "truth": None,
        "candidates": (),
        "similarity": np.zeros(0, np.float32),
    },
    "crop frame past the end": {"crop_frame": 4000},
    "crop leaves the frame": {"crop_box_xyxy": np.array([150, -20, 200, 30], np.float32)},
    "crop outside the frame": {"crop_box_xyxy": np.array([-50, -20, -5, -3], np.float32)},
    "one frame": {"count": 1, "track": one_box(1, 1, 9, 9), "truth": None, "candidates": ()},
    "nothing to search": {"query_frame": 0, "similarity": np.full(3, np.nan, np.float32)},
    "odd sides": {"size_hw": (35, 47)},
    "tall": {"size_hw": (97, 31)},
    "extremely wide": {"size_hw": (4, 301)},
    "boxes outside": {
        "track": one_box(-40, -30, 300, 200),
        "truth": one_box(500, 500, 600, 700),
    },
    "empty box": {"track": one_box(30, 30, 30, 30)},
    "gaps": {"similarity": np.array([np.nan, 0.3, np.nan, 0.5, 0.5], np.float32)},
    "awkward title": {"title": "tea $x^{ \\frac <&> " * 30},
}


@pytest.mark.parametrize("changes", ODD.values(), ids=ODD.keys())
@pytest.mark.filterwarnings("error")
def test_odd_queries_are_drawn(tmp_path, changes):
    view = make_view(**({"count": 12, "query_frame": 10} | changes))
    draw_summary(view, tmp_path / "q.png")
    draw_poster(view, tmp_path / "q.jpg")
    count = draw_video(view, tmp_path / "q.mp4")
    summary = cv2.imread(str(tmp_path / "q.png"))
    poster = cv2.imread(str(tmp_path / "q.jpg"))
    assert summary.shape[1] == 1400
    pictures = decode(tmp_path / "q.mp4")[1]
    assert len(pictures) == count == shown_frames(view)
    assert poster.shape == pictures[0].shape
    assert poster.shape[0] % 2 == poster.shape[1] % 2 == 0


def test_useless_input_is_refused():
    with pytest.raises(DataError, match="has no frames"):
        make_view(0)
    with pytest.raises(ShapeError, match=r"crop box must have shape \(4,\), got \(1, 4\)"):
        make_view(crop_box_xyxy=np.zeros((1, 4), np.float32))
    with pytest.raises(ShapeError, match=r"one value per frame \(T,\), got \(2, 3\)"):
        make_view(similarity=np.zeros((2, 3), np.float32))


def test_box_line_lies_just_inside_the_box():
    picture = np.full((20, 30, 3), 200, np.uint8)
    paint_box(picture, np.array([5, 4, 15, 12], np.float32), TRUTH, thickness=1)
    painted = np.argwhere((picture == TRUTH).all(-1))
    assert painted.min(0).tolist() == [4, 5]
    assert painted.max(0).tolist() == [11, 14]
    assert len(painted) == 2 * 10 + 2 * 6
    assert (picture[3, 4:16] == 0).all()  # dark rim outside
    assert (picture[6:10, 7:13] == 200).all()
    dashed = np.full((20, 30, 3), 200, np.uint8)
    paint_box(dashed, np.array([5, 4, 15, 12], np.float32), TRUTH, thickness=1, dash=2)
    assert 0 < (dashed == TRUTH).all(-1).sum() < len(painted)


def test_inset_makes_room_for_the_object():
    top_right = one_box(120, 0, 160, 40)
    for track, truth in ((top_right, None), (None, top_right)):
        view = make_view(track=track, truth=truth)
        picture = VideoScene(view).picture(15, view.frames[15])
        assert is_near(picture[9, 9], QUERY, 3)
    view = make_view(track=None, truth=None)
    assert is_near(VideoScene(view).picture(15, view.frames[15])[9, 640 - 10], QUERY, 3)


def test_strip_shows_cursor_and_spans():
    view = make_view(truth=one_box(0, 0, 5, 5))
    strip = TimelineStrip(view, 448, 40)  # plot of 400 pixels from x = 38: 10 per frame
    first, later = strip.at(0), strip.at(25)
    changed = np.flatnonzero((first != later).any(axis=(0, 2)))
    assert {43, 293} <= set(changed)
    row = later[TRUTH_TOP + 2]
    assert (row[38:48] == TRUTH).all()
    assert not (row[48:] == TRUTH).all(-1).any()
    assert first.shape == (STRIP_HEIGHT, 448, 3)


def test_panels_follow_what_is_known():
    view = make_view()
    labels = [p.label for p in choose_panels(view)]
    moments = ["predicted, start", "predicted, middle", "predicted, end"]
    assert labels == ["crop frame", "query crop", *moments]
    assert [p.caption[:8] for p in choose_panels(view)][2:] == ["frame 5 ", "frame 7 ", "frame 10"]
    elsewhere = replace(view.track, start_frame=20)
    assert choose_panels(make_view(truth=elsewhere))[-1].label == "truth, middle"
    assert choose_panels(make_view(truth=elsewhere))[-1].caption == "frame 22 · 0:04.4"
    one = choose_panels(make_view(track=one_box(1, 1, 5, 5), truth=None))
    assert [p.label for p in one[2:]] == ["predicted, start"]
    none = choose_panels(make_view(track=None, truth=None))
    assert [p.label for p in none[2:]] == ["best candidate"] * 2
    assert choose_panels(make_view(crop_frame=99))[0].caption == "crop frame is not in the clip"


def test_best_candidates_come_from_different_frames():
    scores = [(3, 0.9, None), (4, 0.2, 0.5), (4, 0.8, 0.4), (6, 0.3, None)]
    candidates = [Candidate(f, (0, 0), s, refined_score=r) for f, s, r in scores]
    assert [(c.frame_idx, c.similarity) for c in best_candidates(candidates)] == [
        (4, 0.2),
        (3, 0.9),
        (6, 0.3),
    ]
    assert len(best_candidates(candidates, 1)) == 1


def test_limits_hold_everything():
    view = make_view(300)
    low, high = similarity_range(view)
    assert low < 0.2 < 0.71 < high
    assert frame_limits(view) == (-0.5, 31.5)  # 30 searched frames and a margin
    assert frame_limits(make_view(300, crop_frame=250))[1] > 250
    assert box_at(view.track, 4) is None
    assert box_at(view.track, 10) is not None
    assert box_at(view.track, 11) is None


def test_text_is_cut_to_its_room():
    cut = shorten("a very long name of an object", 80, 12)
    assert cut.endswith("…")
    assert text_width(cut, 12) <= 80
    assert shorten("mug", 80, 12, bold=True) == "mug"
