"""What was asked of a memory and answered, kept so that nothing is searched twice."""

from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from PIL import Image as PillowImage

from ren_core.code_identity import code_digest
from ren_core.geometry import clip_boxes
from ren_core.stages import content, digest
from vq2d.localize.saved import localization_from_json, localization_to_json
from vq2d.memory.ask import AskConfig, MemoryQuestion, OnFound, Places, Sighting, sightings
from vq2d.types import ObjectView

PICTURE_SIDE = 240
"""Longer side, in pixels, of the picture that is kept of a question."""


def answer(
    places: Places,
    question: MemoryQuestion,
    before: datetime | None,
    top: int,
    config: AskConfig,
    *,
    on_found: OnFound | None = None,
) -> Iterator[Sighting]:
    """``ask.sightings``, or the same from disk if the memory has not changed since."""
    videos = {video.fingerprint: video for video in places.store.videos()}
    name = answer_name(places, question, before, top, config)
    if (places.store.answers / f"{name}.json").is_file():
        _, raw = places.store.read_answer(name)
        for one in raw["sightings"]:
            video = videos[one["video"]]
            found = localization_from_json(one["found"])
            frames = places.frames_of(video)
            if frames is not None:
                yield Sighting(video, found, frames, was_believed(one))
        return
    given: list[Sighting] = []
    for sighting in sightings(places, question, before, top, config, on_found=on_found):
        given.append(sighting)
        if len(given) == top:  # nobody may ask for what follows the last one
            break
        yield sighting
    raw = {"question": question_name(question, before, top), **_to_json(question, given)}
    places.store.write_answer(name, raw, _pictured(question.views[0]))
    if len(given) == top:
        yield given[-1]


def was_believed(kept: Mapping[str, Any]) -> bool:
    """Whether a kept sighting was believed; the first version called that ``present``."""
    return bool(kept["believed"] if "believed" in kept else kept["present"])


def _to_json(question: MemoryQuestion, given: Sequence[Sighting]) -> dict[str, object]:
    shown = {sighting.video.fingerprint for sighting in given}
    if question.origin is not None:
        shown.add(question.origin[0])
    return {
        "videos": sorted(shown),
        "origin": None if question.origin is None else list(question.origin),
        "boxes_xyxy": [view.box_xyxy.astype(float).tolist() for view in question.views],
        "sightings": [
            {
                "video": sighting.video.fingerprint,
                "believed": sighting.believed,
                "found": localization_to_json(sighting.found),
            }
            for sighting in given
        ],
    }


def _pictured(view: ObjectView) -> bytes:
    """The object of a view as a small JPEG, so that a question is known again."""
    x1, y1, x2, y2 = clip_boxes(view.box_xyxy, view.picture.shape[:2])
    left, top, right, bottom = math.floor(x1), math.floor(y1), math.ceil(x2), math.ceil(y2)
    crop = PillowImage.fromarray(
        view.picture[top : max(bottom, top + 1), left : max(right, left + 1)]
    )
    crop.thumbnail((PICTURE_SIDE, PICTURE_SIDE))
    with io.BytesIO() as file:
        crop.save(file, "JPEG", quality=88)
        return file.getvalue()


def question_name(question: MemoryQuestion, before: datetime | None, top: int) -> str:
    """A name for all that is asked, whatever answers it."""
    views = [
        [
            hashlib.sha256(view.picture.tobytes()).hexdigest(),
            view.picture.shape,
            view.box_xyxy.astype(float).tolist(),
            None if view.mask is None else hashlib.sha256(view.mask.tobytes()).hexdigest(),
        ]
        for view in question.views
    ]
    return digest([views, question.origin, None if before is None else before.isoformat(), top], 16)


def answer_name(
    places: Places,
    question: MemoryQuestion,
    before: datetime | None,
    top: int,
    config: AskConfig,
) -> str:
    """A name for all that decides an answer."""
    localizer = places.localizer
    how = [content(localizer.config), content(config), localizer.networks, code_digest(__name__)]
    videos = sorted(video.fingerprint for video in places.store.videos())
    return digest([question_name(question, before, top), how, videos], 16)
