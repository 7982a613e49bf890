"""When a recording began, as its file says."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timezone

TAGS = ("com.apple.quicktime.creationdate", "creation_time")
"""The first has the time zone of the camera; the second is in UTC."""
NO_CLOCK = 1990
"""A camera without a clock writes the year in which its format, or Unix, begins."""


def recording_time(metadata: Mapping[str, str]) -> datetime | None:
    """The time, with its zone, in the metadata of a video file; None if there is none.

    >>> recording_time({"creation_time": "2026-11-20T17:03:00.000000Z"}).isoformat()
    '2026-11-20T17:03:00+00:00'
    """
    for tag in TAGS:
        text = metadata.get(tag, "").strip().replace("Z", "+00:00")
        text = re.sub(r"([+-]\d\d)(\d\d)$", r"\1:\2", text)  # as Python before 3.11 reads it
        try:
            found = datetime.fromisoformat(text)
        except ValueError:
            continue
        if found.year >= NO_CLOCK:
            return found if found.tzinfo else found.replace(tzinfo=timezone.utc)
    return None
