"""Where the ego4d CLI puts the file of a clip, and the frames that the clip has in it."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ren_core.errors import DataError
from vq2d.ego4d.annotations import Clip, version_folders
from vq2d.video.frames import VideoFrames
from vq2d.video.index import read_timeline
from vq2d.video.readers import ReaderName
from vq2d.video.timeline import CANONICAL_FPS, Timeline, as_rate, select_frames


def clip_file(root: Path, clip: Clip) -> Path | None:
    """The clip's own file, else its full-scale video, under the ego4d CLI's layout; else None."""
    folders = version_folders(root)
    names = [("full_scale", clip.video_uid)]
    if clip.clip_uid is not None:
        names.insert(0, ("clips", clip.clip_uid))
    paths = (folder / kind / f"{uid}.mp4" for kind, uid in names for folder in folders)
    return next((path for path in paths if path.is_file()), None)


def open_clip(root: Path, clip: Clip, *, reader: ReaderName = "av") -> VideoFrames:
    """Frames of a benchmark clip at its annotation rate.

    Args:
        root: Output directory of the ego4d CLI.
        clip: The clip; a file shorter than it gives fewer frames.
        reader: ``"decord"`` is for MP4 files of constant rate only.

    Raises:
        ConfigError: If the file is not for that reader.
        DataError: If neither the clip nor its video is there, or nothing of it can be decoded.
    """
    path = clip_file(root, clip)
    if path is None:
        whole = root / "v2" / "full_scale" / f"{clip.video_uid}.mp4"
        command = "`vq2d check-data` prints the command that fetches it"
        if clip.clip_uid is None:
            raise DataError(
                f"this clip has no file of its own (its uid is null) and can only be cut from its "
                f"video, but {whole} is missing; {command}"
            )
        raise DataError(
            f"{root / 'v2' / 'clips' / f'{clip.clip_uid}.mp4'} is missing, and so is the video "
            f"that it could be cut from, {whole}; {command}"
        )
    timeline = read_timeline(path)
    return VideoFrames(timeline, clip_frames(timeline, clip), reader=reader)


def clip_frames(timeline: Timeline, clip: Clip) -> NDArray[np.int64]:
    """Frame numbers of the clip in its own file or, by its place there, in its whole video."""
    fps = as_rate(clip.clip_fps)
    if timeline.path.stem == clip.clip_uid:
        return select_frames(timeline, fps)
    start = Fraction(clip.video_start_frame, CANONICAL_FPS)
    return select_frames(timeline, fps, start=start, count=clip.num_frames)
