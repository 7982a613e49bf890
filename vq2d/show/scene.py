"""The video of one query: clip, query inset, predicted and true boxes, running similarity."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from PIL import Image as PillowImage

from ren_core.drawing import Picture, draw_points
from ren_core.geometry import Boxes, box_area
from ren_core.images import Image
from ren_core.stages import atomic_path
from vq2d.show.paint import (
    CANDIDATE,
    PAPER,
    PREDICTED,
    QUERY,
    TRUTH,
    fit_inside,
    in_a_row,
    paint_box,
    paint_picture,
    paint_text,
)
from vq2d.show.strip import STRIP_HEIGHT, TimelineStrip
from vq2d.show.view import AnswerView, box_at
from vq2d.video.writer import write_h264

LONGER_SIDE = 640  # px of the clip's picture; the strip comes below
MIN_WIDTH = 420  # px, so that the legend has room below tall clips
TAIL_FRAMES = 10  # shown dimmed after the last frame that matters
INSET_SHARE = 0.3  # of the picture's shorter side
DIMMED = 0.4


def draw_video(view: AnswerView, path: Path, *, fps: float = 5.0) -> int:
    """Write an H.264 video of the clip up to shortly after the query frame.

    Memory does not grow with the clip's length.

    Args:
        view: What to show.
        path: Target ``.mp4``.
        fps: Playback rate; the clip itself has 5 frames per second.

    Returns:
        Number of frames written.
    """
    return write_h264(path, VideoScene(view).pictures(), fps=fps)


def draw_poster(view: AnswerView, path: Path) -> None:
    """Write the video's picture in mid-answer (mid-truth or query frame without one) as JPEG."""
    shown = view.track or view.truth
    middle = view.window_end if shown is None else (shown.start_frame + shown.end_frame - 1) // 2
    frame_idx = min(middle, len(view.frames) - 1)
    picture = VideoScene(view).picture(frame_idx, view.frames[frame_idx])
    with atomic_path(path) as tmp:
        PillowImage.fromarray(picture).save(tmp, format="JPEG", quality=85)


class VideoScene:
    """Lays out the video of one query; holds one picture, not the clip.

    Attributes:
        num_frames: Frames of the clip that are shown.
        size_wh: Width and height of the clip's part of the picture.
        canvas_hw: Height and width of the whole picture, both even.
    """

    def __init__(self, view: AnswerView) -> None:
        self.view = view
        self.num_frames = shown_frames(view)
        H, W = view.frames.size_hw
        factor = LONGER_SIDE / max(H, W)
        self.size_wh = (_even(W * factor), _even(H * factor))
        width, height = self.size_wh
        self.canvas_hw = (height + STRIP_HEIGHT, max(width, MIN_WIDTH))
        self._left = (self.canvas_hw[1] - width) // 2
        self._scale = np.array([width / W, height / H, width / W, height / H], np.float32)
        self._strip = TimelineStrip(view, self.canvas_hw[1], self.num_frames)
        self._inset = query_inset(view, max(16, round(INSET_SHARE * min(self.size_wh))))
        self._inset_xy = self._free_corner()

    def pictures(self) -> Iterator[Picture]:
        """All pictures of the video, in order."""
        for i, image in enumerate(itertools.islice(self.view.frames, self.num_frames)):
            yield self.picture(i, image)

    def picture(self, frame_idx: int, image: Image) -> Picture:
        """One picture (canvas height, canvas width, 3) of the video."""
        frame = cv2.resize(image, self.size_wh, interpolation=cv2.INTER_AREA)
        picture: Picture = np.ascontiguousarray(frame, np.uint8)
        is_after = frame_idx >= self.view.window_end
        if is_after:
            picture = (picture * DIMMED).astype(np.uint8)
        picture = self._with_candidates(picture, frame_idx)
        for track, colour, dash in ((self.view.track, PREDICTED, 0), (self.view.truth, TRUTH, 10)):
            box = box_at(track, frame_idx)
            if box is not None:
                paint_box(picture, box * self._scale, colour, thickness=3, dash=dash)
        paint_picture(picture, self._inset, *self._inset_xy)
        canvas = np.full((*self.canvas_hw, 3), PAPER, np.uint8)
        paint_picture(canvas, picture, self._left, 0)
        paint_picture(canvas, self._strip.at(frame_idx), 0, self.size_wh[1])
        if is_after:
            note_xy = (self.canvas_hw[1] / 2, self.size_wh[1] - 16)
            paint_text(canvas, "after the search window", note_xy, size=13, anchor="mm")
        return canvas

    def _with_candidates(self, picture: Picture, frame_idx: int) -> Picture:
        points_xy = [c.point_xy for c in self.view.candidates if c.frame_idx == frame_idx]
        if not points_xy:
            return picture
        points_yx = (np.array(points_xy, np.float32) * self._scale[:2])[:, ::-1]
        return draw_points(picture, points_yx, CANDIDATE, 5)

    def _free_corner(self) -> tuple[int, int]:
        """The (x, y) of the inset in the corner where it hides least of the tracks' boxes."""
        (width, height), (h, w) = self.size_wh, self._inset.shape[:2]
        gap = 8
        corners = [(x, y) for y in (gap, height - h - gap) for x in (width - w - gap, gap)]
        tracks = [t for t in (self.view.track, self.view.truth) if t is not None]
        if not tracks:
            return corners[0]
        boxes_xyxy = np.concatenate([t.boxes_xyxy for t in tracks]) * self._scale
        return min(corners, key=lambda xy: _hidden(boxes_xyxy, (*xy, xy[0] + w, xy[1] + h)))


def shown_frames(view: AnswerView) -> int:
    """How many frames the video shows: up to the query frame and all tracks, and a short tail."""
    ends = [t.end_frame for t in (view.track, view.truth) if t is not None]
    return min(max([view.window_end, *ends]) + TAIL_FRAMES, len(view.frames))


def query_inset(view: AnswerView, size: int) -> Picture:
    """The query's crop, its longer side ``size`` pixels, in a labelled border.

    Several given pictures stand side by side, each somewhat smaller.
    """
    crops = view.crop_images()
    crop = in_a_row([fit_inside(c, max(1, round(size / len(crops) ** 0.5))) for c in crops])
    border = 3
    head = 18
    width = max(crop.shape[1], 46)
    inset = np.full((crop.shape[0] + head + border, width + 2 * border, 3), QUERY, np.uint8)
    paint_picture(inset, np.full((crop.shape[0], width, 3), PAPER, np.uint8), border, head)
    paint_picture(inset, crop, border + (width - crop.shape[1]) // 2, head)
    place = (inset.shape[1] / 2, head / 2)
    paint_text(inset, "query", place, size=12, colour=PAPER, anchor="mm", bold=True)
    return inset


def _even(side: float) -> int:
    return max(2, 2 * round(side / 2))


def _hidden(boxes_xyxy: Boxes, inset_xyxy: tuple[int, int, int, int]) -> float:
    """Pixels of all boxes (N, 4) below an inset."""
    inset = np.array(inset_xyxy, np.float32)
    low = np.maximum(boxes_xyxy[:, :2], inset[:2])
    high = np.minimum(boxes_xyxy[:, 2:], inset[2:])
    return float(box_area(np.concatenate([low, high], axis=1)).sum())
