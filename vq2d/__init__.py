"""Visual query localization: where was the object in this picture last seen?

The names here are the public interface (docs/api.md); each is imported when it is asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vq2d.job.own_video import ask_by_moment, ask_by_pictures, localize_in, open_localizer
    from vq2d.localize.localizer import Localizer
    from vq2d.localize.views import views_of_pictures
    from vq2d.memory.ask import MemoryQuestion, Sighting
    from vq2d.memory.memory import Memory
    from vq2d.types import Localization, ObjectView, Question, ResponseTrack
    from vq2d.video.frames import VideoFrames, open_video

__all__ = [
    "Localization",
    "Localizer",
    "Memory",
    "MemoryQuestion",
    "ObjectView",
    "Question",
    "ResponseTrack",
    "Sighting",
    "VideoFrames",
    "ask_by_moment",
    "ask_by_pictures",
    "localize_in",
    "open_localizer",
    "open_video",
    "views_of_pictures",
]

_HOMES = {
    "vq2d.job.own_video": ("ask_by_moment", "ask_by_pictures", "localize_in", "open_localizer"),
    "vq2d.localize.localizer": ("Localizer",),
    "vq2d.localize.views": ("views_of_pictures",),
    "vq2d.memory.ask": ("MemoryQuestion", "Sighting"),
    "vq2d.memory.memory": ("Memory",),
    "vq2d.types": ("Localization", "ObjectView", "Question", "ResponseTrack"),
    "vq2d.video.frames": ("VideoFrames", "open_video"),
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever the name stands for
    """Import a public name from where it lives."""
    for home, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(home), name)
    raise AttributeError(f"module 'vq2d' has no attribute {name!r}")


def __dir__() -> list[str]:
    """The public names."""
    return sorted(__all__)
