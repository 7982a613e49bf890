"""A question about one video of any rate and size, without an annotation file."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ren_core.engine.choice import Compute
from ren_core.errors import ConfigError
from ren_core.executor.compute import ComputeWish
from vq2d.job.kept_tokens import KeptTokens
from vq2d.localize.build import build_localizer
from vq2d.localize.localizer import Localizer
from vq2d.localize.presets import preset
from vq2d.localize.tokens import clip_tokens, open_tokens
from vq2d.localize.views import view_in_frame, views_of_pictures
from vq2d.types import (
    Localization,
    ObjectView,
    QueryKey,
    Question,
    VisualQuery,
)
from vq2d.video.frames import VideoFrames

FPS = 5.0


@dataclass(frozen=True, slots=True)
class Asked:
    """A question about a video, and the same as a query, which has a form that can be drawn."""

    question: Question
    query: VisualQuery


def ask_by_moment(
    frames: VideoFrames,
    at_seconds: float,
    box_xywh: Sequence[float],
    until_seconds: float | None,
) -> Asked:
    """The object in a box (x, y, width, height) of the video itself, at a time.

    The nearest frame is taken: the last one for any time after it that the video still plays.

    Raises:
        ConfigError: If the time lies outside the video, or the box is not four finite numbers with
            an area that touches the frame.
    """
    lasts = math.ceil(100 * frames.duration - 1e-6) / 100  # as printed
    if not 0 <= at_seconds <= lasts:
        raise ConfigError(f"--at {at_seconds:g} lies outside the video, which lasts {lasts:.10g} s")
    crop_frame = min(round(at_seconds * FPS), len(frames) - 1)
    view = view_in_frame(frames, crop_frame, box_xywh)
    return _asked(frames, (view,), crop_frame, until_seconds)


def ask_by_pictures(
    frames: VideoFrames,
    pictures: Sequence[Path],
    until_seconds: float | None,
    *,
    box_xywh: Sequence[float] | None = None,
) -> Asked:
    """The object in pictures that are not of the video; see ``views_of_pictures``.

    Args:
        frames: The video.
        pictures: At least one file; exactly one with ``box_xywh``.
        until_seconds: Search up to here; None: all of the video.
        box_xywh: (x, y, width, height) in pixels of the upright picture of the file.

    Raises:
        ConfigError: If the box does not fit.
        DataError: If a picture cannot be read.
    """
    return _asked(frames, views_of_pictures(pictures, box_xywh), None, until_seconds)


def open_localizer(
    preset_name: str = "embedded", *, changes: Sequence[str] = (), compute: Compute | None = None
) -> Localizer:
    """The five stages with the loaded models of a preset.

    Args:
        preset_name: ``"embedded"``, ``"paper"`` or ``"release"``.
        changes: Of the preset, as ``"KEY=VALUE"``.
        compute: What runs the networks; None: what fits the machine.

    Raises:
        ConfigError: If there is no such preset or a change does not fit it.
        DataError: If weights are missing, with the command that fetches them.
    """
    config = preset(preset_name, changes)
    return build_localizer(
        config, compute or ComputeWish(suits_openvino=config.suits_openvino).fulfilled()
    )


def localize_in(
    frames: VideoFrames,
    question: Question,
    localizer: Localizer,
    *,
    cache: Path,
    on_frames: Callable[[int], object] = lambda _: None,
    keep_tokens_of: str | None = None,
) -> Localization:
    """Tokens of the video (kept in ``cache``), then the five stages."""
    config = localizer.config
    encoder = localizer.models.encoder
    tokens_dir = open_tokens(cache, encoder, config.tokens, keep=keep_tokens_of)
    with KeptTokens(tokens_dir, math.inf).using(frames.fingerprint) as directory:
        chunks = clip_tokens(
            frames,
            encoder,
            config.tokens,
            directory=directory,
            num_frames=question.search_end,
            on_frames=on_frames,
        )
        return localizer.localize(question, frames, chunks)


def _asked(
    frames: VideoFrames,
    views: tuple[ObjectView, ...],
    crop_frame: int | None,
    until_seconds: float | None,
) -> Asked:
    until = math.inf if until_seconds is None else until_seconds * FPS
    if not until > 0.5:  # also false for NaN
        raise ConfigError(f"--until {until_seconds} leaves no frame to search")
    end = round(min(until, len(frames)))
    query = VisualQuery(
        key=QueryKey(0, 0, 0, "1"),
        query_frame=end,
        crop_frame=end if crop_frame is None else crop_frame,
        crop_box_xyxy=views[0].box_xyxy,
        original_size_hw=frames.size_hw,
    )
    return Asked(Question(views, end, crop_frame), query)
