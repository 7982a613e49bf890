"""MOTChallenge: the lines of a tracker's result, one text file per video."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from ren_core.stages import write_text
from vq2d.memory.exports.track import DECIMALS, NOTHING, ExportTrack, VideoTracks, by_video

RESULTS = "data"
"""The folder in which TrackEval looks for a tracker's results, where it is not told another."""


def write_mot(tracks: Sequence[ExportTrack], target: Path) -> list[Path]:
    """Write ``data/NAME.txt`` and ``NAME/seqinfo.ini`` for each video.

    A line is frame, id, left, top, width, height, score, -1, -1, -1. Frames are the file's,
    counted from 1; the upper left pixel is (1, 1), so that left and top are ours plus 1.

    Args:
        tracks: The answer; one without tracks becomes an empty ``data/nothing.txt``.
        target: The folder: a tracker's, as TrackEval calls it.

    Raises:
        DataError: If tracks of one video do not agree about its file.
    """
    written = []
    for video in by_video(tracks):
        results = target / RESULTS / f"{video.name}.txt"
        about = target / video.name / "seqinfo.ini"
        write_text(results, "".join(_lines(video)))
        write_text(about, _seqinfo(video))
        written += [results, about]
    if not written:
        written = [target / RESULTS / f"{NOTHING}.txt"]
        write_text(written[0], "")
    return written


def _lines(video: VideoTracks) -> Iterator[str]:
    """Ordered by frame, then by id."""
    rows = [
        (frame + 1, track_id, box, track.score)
        for track_id, track in video.tracks.items()
        for frame, box in zip(track.source_frames.tolist(), track.boxes_xywh.tolist(), strict=True)
    ]
    for frame, track_id, (left, top, width, height), score in sorted(rows):
        place = (left + 1, top + 1, width, height)
        numbers = ",".join(f"{number:.{DECIMALS}f}" for number in place)
        yield f"{frame},{track_id},{numbers},{score:.6f},-1,-1,-1\n"


def _seqinfo(video: VideoTracks) -> str:
    """Facts of the file; the rate is a whole number, since its readers take no other."""
    H, W = video.file.size_hw
    return (
        "[Sequence]\n"
        f"name={video.name.replace('%', '%%')}\n"  # a lone % is an error to configparser
        "imDir=img1\n"
        f"frameRate={max(1, round(video.file.source_fps))}\n"
        f"seqLength={video.file.num_source_frames}\n"
        f"imWidth={W}\n"
        f"imHeight={H}\n"
        "imExt=.jpg\n"
    )
