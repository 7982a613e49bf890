"""What is exported: where one thing was seen in one video, in terms of the video's file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ren_core.errors import DataError, ShapeError
from ren_core.geometry import Boxes, Mask

DECIMALS = 2
"""Hundredths of a pixel: finer than any annotation."""

NOTHING = "nothing"
"""Name of the file of an answer without tracks, where there is a file per video."""

NAME_BYTES = 160
"""Of a file's name; what is added to it stays below the 255 that file systems take."""

NOT_IN_NAMES = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
"""Control characters, and bytes that are no text."""


@dataclass(frozen=True, slots=True)
class ExportTrack:
    """One sighting: a box per frame at 5 fps.

    Attributes:
        video: The file.
        size_hw: Height and width of its frames as shown: upright, square pixels.
        num_source_frames: Frames of the file.
        source_fps: Average rate of the file, frames per second.
        source_frames: (T,) int64, the file's frame of each box: 0-based in the order in which
            they are shown, non-decreasing. A number repeats where the file is slower than 5 fps.
        times_s: (T,) float64, when each is shown, seconds after the first frame.
        boxes_xyxy: (T, 4) float32, T >= 1, half-open pixels inside the frame.
        masks: T masks (H, W) of the thing's pixels, None in a frame where they are not known;
            None: they were not asked for.
        label: Name of the thing.
        score: Confidence, any finite number.

    Raises:
        ShapeError: If the arrays do not have one entry per box, or a mask not the frame's size.
        DataError: If a number is outside the video or out of order, or the label is blank.
    """

    video: Path
    size_hw: tuple[int, int]
    num_source_frames: int
    source_fps: float
    source_frames: NDArray[np.int64]
    times_s: NDArray[np.float64]
    boxes_xyxy: Boxes
    masks: tuple[Mask | None, ...] | None
    label: str
    score: float

    def __post_init__(self) -> None:
        self._check_shapes()
        self._check_file()
        self._check_frames()
        self._check_boxes()

    def _check_shapes(self) -> None:
        T = len(self.boxes_xyxy)
        if self.boxes_xyxy.shape != (T, 4) or not T:
            raise ShapeError(f"a track needs (T, 4) boxes, T >= 1; got {self.boxes_xyxy.shape}")
        for name, values in (("source_frames", self.source_frames), ("times_s", self.times_s)):
            if values.shape != (T,):
                raise ShapeError(f"a track of {T} boxes needs {T} {name}, got {values.shape}")
        if self.masks is None:
            return
        if len(self.masks) != T:
            raise ShapeError(f"a track of {T} boxes needs {T} masks, got {len(self.masks)}")
        for mask in self.masks:
            if mask is not None and (mask.shape != self.size_hw or mask.dtype != np.bool_):
                raise ShapeError(
                    f"a mask must be boolean and of the frame's height and width {self.size_hw}, "
                    f"got {mask.dtype} {mask.shape}"
                )

    def _check_file(self) -> None:
        if min(*self.size_hw, self.num_source_frames) < 1:
            raise DataError(
                f"{self.video} must have frames of some size, got {self.num_source_frames} of "
                f"{self.size_hw} pixels (height, width)"
            )
        if not (np.isfinite(self.source_fps) and self.source_fps > 0):
            raise DataError(f"{self.video} must have a rate above 0, got {self.source_fps} fps")
        if not np.isfinite(self.score):
            raise DataError(f"the score of a track must be finite, got {self.score}")
        if not self.label.strip():
            raise DataError("a track needs a label, since other tools know things by it")

    def _check_frames(self) -> None:
        first, last = int(self.source_frames[0]), int(self.source_frames[-1])
        if (np.diff(self.source_frames) < 0).any():
            raise DataError("the source frames of a track must not go back")
        if first < 0 or last >= self.num_source_frames:
            raise DataError(
                f"source frames {first} to {last} are not all among the "
                f"{self.num_source_frames} of {self.video}, counted from 0"
            )
        if not np.isfinite(self.times_s).all() or (np.diff(self.times_s) < 0).any():
            raise DataError("the times of a track must be finite and must not go back")

    def _check_boxes(self) -> None:
        H, W = self.size_hw
        low, high = self.boxes_xyxy[:, :2], self.boxes_xyxy[:, 2:]
        inside = (low >= 0) & (low <= high) & (high <= np.array([W, H]))  # false for NaN too
        if not inside.all():
            wrong = self.boxes_xyxy[~inside.all(axis=1)][0].tolist()
            raise DataError(
                f"box {wrong} (x1, y1, x2, y2) is inverted or leaves the frame of {W} x {H} "
                "pixels; cut it to the frame first (clip_boxes)"
            )

    def each_frame_once(self) -> ExportTrack:
        """The same track with the first box of each source frame."""
        frames, first = np.unique(self.source_frames, return_index=True)
        if len(frames) == len(self.source_frames):
            return self
        return replace(
            self,
            source_frames=frames,
            times_s=self.times_s[first],
            boxes_xyxy=self.boxes_xyxy[first],
            masks=None if self.masks is None else tuple(self.masks[i] for i in first),
        )

    @property
    def boxes_xywh(self) -> NDArray[np.float64]:
        """(T, 4) left, top, width, height in hundredths of a pixel."""
        edges = np.round(self.boxes_xyxy.astype(np.float64), DECIMALS)
        sides = np.round(edges[:, 2:] - edges[:, :2], DECIMALS)
        return np.concatenate([edges[:, :2], sides], axis=1)


@dataclass(frozen=True, slots=True)
class VideoTracks:
    """The tracks of one video.

    Attributes:
        name: Of the video's files and folders: its stem, made unlike those of the other videos.
        tracks: By id, which counts all tracks of the answer from 1; each source frame once.

    Raises:
        DataError: If the tracks do not agree about the file.
    """

    name: str
    tracks: Mapping[int, ExportTrack]

    def __post_init__(self) -> None:
        facts = {(t.size_hw, t.num_source_frames, t.source_fps) for t in self.tracks.values()}
        if len(facts) > 1:
            raise DataError(
                f"the tracks of {self.file.video} give it different sizes, numbers of frames or "
                f"rates: {sorted(facts)}"
            )

    @property
    def file(self) -> ExportTrack:
        """A track to read the facts of the file from."""
        return next(iter(self.tracks.values()))


def by_video(tracks: Sequence[ExportTrack]) -> tuple[VideoTracks, ...]:
    """Tracks grouped by file, in the order in which the files first occur."""
    groups: dict[Path, dict[int, ExportTrack]] = {}
    for track_id, track in enumerate(tracks, start=1):
        groups.setdefault(track.video, {})[track_id] = track.each_frame_once()
    names = _names(groups)
    return tuple(VideoTracks(names[video], group) for video, group in groups.items())


def _names(videos: Iterable[Path]) -> dict[Path, str]:
    """A name for each video, no two alike: also where upper and lower case are the same."""
    names: dict[Path, str] = {}
    taken: set[str] = set()
    for video in videos:
        stem = NOT_IN_NAMES.sub("_", video.stem)
        stem = stem.encode()[:NAME_BYTES].decode(errors="ignore")
        name, count = stem, 1
        while name.casefold() in taken:
            count += 1
            name = f"{stem}-{count}"
        taken.add(name.casefold())
        names[video] = name
    return names
