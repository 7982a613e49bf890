"""Answers without a learned feature, which show what the figures of a data set are worth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
from pydantic import Field

from ren_core.configuration import ImageSize, Share, configuration
from ren_core.errors import DataError
from ren_core.geometry import Boxes, clip_boxes
from ren_core.images import Image
from ren_core.progress import tqdm
from vq2d.ego4d.annotations import Annotations
from vq2d.ego4d.clips import open_clip
from vq2d.job.task import RunReport, Trouble
from vq2d.localize.localizer import question_of
from vq2d.localize.search import SearchConfig, extent, find_candidates
from vq2d.localize.track import choose
from vq2d.types import FrameScores, FrameSource, ObjectView, QueryKey, ResponseTrack, VisualQuery

Baseline = Callable[[VisualQuery, FrameSource], ResponseTrack | None]
"""Answers a query of a clip in frame pixels; None where there is no frame before the query."""

_Scale = Annotated[float, Field(gt=0, le=10)]


@configuration(group="template")
class TemplateConfig:
    """How a visual crop is matched.

    Attributes:
        side: Most pixels of a frame's longer side; larger frames are shrunk first.
        scales: Sizes of the template, as multiples of the crop's sides.
        keep_ratio: A peak counts from this share of the highest one; the last that counts is taken.
        track_ratio: The track goes on over frames above this share of its peak.
        skip_around_crop: Frames on either side of the crop's own that are no answer, and the crop's
            own with them; 0: every frame before the query may be one.
    """

    side: ImageSize = 320
    scales: Annotated[tuple[_Scale, ...], Field(min_length=1, max_length=32)] = (0.7, 1.0, 1.4)
    keep_ratio: Share = 0.85
    track_ratio: Share = 0.7
    skip_around_crop: Annotated[int, Field(ge=0, le=10_000)] = 0


def answer_queries(
    annotations: Annotations, report: RunReport, baseline: Baseline, *, root: Path
) -> dict[QueryKey, ResponseTrack]:
    """Tracks in original pixels of the queries that a report asks; the report has the failures."""
    asked, damaged = set(report.asked), annotations.damaged
    report.note(Trouble.NOT_ANSWERED, {key: damaged[key] for key in report.asked if key in damaged})
    tracks = {}
    for clip in tqdm(annotations.clips, desc="clips", unit="clip", disable=None):
        queries = [query for query in clip.queries if query.key in asked]
        if not queries:
            continue
        keys = [query.key for query in queries]
        with report.guard(Trouble.NOT_ANSWERED, keys, f"clip {clip.clip_uid}"):
            frames = open_clip(root, clip)
            for query in queries:
                with report.guard(Trouble.NOT_ANSWERED, [query.key], f"query {query.key}"):
                    track = baseline(query, frames)
                    if track is not None:
                        tracks[query.key] = query.to_original(track, frames.size_hw)
    return tracks


def hold_centre(query: VisualQuery, frames: FrameSource) -> ResponseTrack | None:
    """A box of half the frame's sides in its middle, over all frames before the query.

    It knows nothing of the object, so every track has the same score.
    """
    end = query.search_end(len(frames))
    if end == 0:
        return None
    H, W = frames.size_hw
    box = np.array([W, H, 3 * W, 3 * H], np.float32) / 4
    return ResponseTrack(0, np.tile(box, (end, 1)), 1.0)


def match_template(
    query: VisualQuery, frames: FrameSource, config: TemplateConfig
) -> ResponseTrack | None:
    """The last peak of the visual crop's normalised cross-correlation, and the frames around it.

    Raises:
        DataError: If the crop shows nothing of its frame.
    """
    end = query.search_end(len(frames))
    if end == 0:
        return None
    factor = min(1.0, config.side / max(frames.size_hw))
    question = question_of(query, frames)
    templates = _templates(question.views[0], factor, config.scales)

    # the best place in every frame
    found = [_best_match(_shrunk(frames[i], factor), templates) for i in range(end)]
    boxes = np.stack([box for box, _ in found]) / np.float32(factor)
    crop_frame, skip = query.crop_frame, config.skip_around_crop
    scores = FrameScores(
        np.arange(end, dtype=np.int32),
        np.array([score for _, score in found], np.float32),
        (boxes[:, :2] + boxes[:, 2:]) / 2,
        own=range(crop_frame - skip, crop_frame + skip + 1) if skip else None,
    )

    # the last peak and what surrounds it
    search = SearchConfig(nms_ratio=config.track_ratio, keep_ratio=config.keep_ratio, floor=0.0)
    peak = choose(find_candidates(scores, search), "last")
    if peak is None:
        return None
    least = config.track_ratio * peak.similarity
    first, stop = extent(scores.answerable, peak.frame_idx, least)
    return ResponseTrack(first, clip_boxes(boxes[first:stop], frames.size_hw), peak.similarity)


def _templates(view: ObjectView, factor: float, scales: Sequence[float]) -> list[Image]:
    """Grey pictures of the object in a frame shrunk by ``factor``, at several scales."""
    grey = _shrunk(view.picture, factor)
    H, W = grey.shape
    x1, y1, x2, y2 = clip_boxes(view.box_xyxy * np.float32(factor), (H, W)).round().astype(int)
    if x2 <= x1 or y2 <= y1:
        raise DataError(
            f"the visual crop {np.round(view.box_xyxy, 1).tolist()} shows nothing of its frame; "
            "correct the annotation"
        )
    sizes = [(round((x2 - x1) * scale), round((y2 - y1) * scale)) for scale in scales]
    return [
        cv2.resize(grey[y1:y2, x1:x2], (min(W, max(1, w)), min(H, max(1, h))))
        for w, h in dict.fromkeys(sizes)
    ]


def _best_match(grey: Image, templates: Sequence[Image]) -> tuple[Boxes, float]:
    """Where a grey frame is most like one of the templates, (4,) xyxy, and the correlation."""
    best_box, best = np.zeros(4, np.float32), -1.0
    for template in templates:
        correlation = cv2.matchTemplate(grey, template, cv2.TM_CCOEFF_NORMED)
        _, highest, _, (x, y) = cv2.minMaxLoc(correlation)
        if highest > best:
            h, w = template.shape
            best_box, best = np.array([x, y, x + w, y + h], np.float32), float(highest)
    return best_box, best


def _shrunk(frame: Image, factor: float) -> Image:
    """The grey frame (H', W'), shrunk by a factor of at most 1."""
    grey: Image = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
    if factor < 1:
        grey = cv2.resize(grey, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    return grey
