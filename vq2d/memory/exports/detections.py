"""supervision: a track as its ``Detections``, in memory; the package is optional."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ren_core.errors import ConfigError
from vq2d.memory.exports.track import ExportTrack

if TYPE_CHECKING:
    import supervision as sv


def to_detections(
    track: ExportTrack, i: int | None = None, *, track_id: int = 1, class_id: int = 0
) -> sv.Detections:
    """Boxes of a track in supervision's form: the same pixels, half-open, 0-based.

    Args:
        track: The track; of a source frame that repeats, the first box.
        i: Which of its frames, counted from 0 after repeats are dropped; None: all.
        track_id: Becomes ``tracker_id``.
        class_id: Number of the label.

    Returns:
        One detection per frame; ``data`` has ``class_name``, ``source_frame`` (0-based) and
        ``time_s``. Masks are given if those of all these frames are known.

    Raises:
        ConfigError: If supervision is not installed.
        IndexError: If the track has no frame ``i``.
    """
    try:
        import supervision as sv
    except ImportError as err:
        raise ConfigError(
            "supervision is not installed; install it with: pip install 'supervision>=0.30' "
            "(older ones bring an OpenCV that gets in the way of the one here)"
        ) from err
    track = track.each_frame_once()
    every = np.arange(len(track.boxes_xyxy))
    chosen = every if i is None else every[[i]]
    masks = [] if track.masks is None else [track.masks[k] for k in chosen]
    known = [mask for mask in masks if mask is not None]
    T = len(chosen)
    return sv.Detections(
        xyxy=track.boxes_xyxy[chosen],
        mask=np.stack(known) if len(known) == T else None,
        confidence=np.full(T, track.score, np.float32),
        class_id=np.full(T, class_id),
        tracker_id=np.full(T, track_id),
        data={
            "class_name": np.full(T, track.label),
            "source_frame": track.source_frames[chosen],
            "time_s": track.times_s[chosen],
        },
    )
