"""Resident memory of the main job against length and number of clips, each in its own process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import pytest

from tests.clips import RED, clip_json, frame, query_set, write_annotations
from tests.places import ROOT
from tests.synthetic import write_video

SCALE = 5  # frames of 480 x 320 pixels: 450 kB each, so that keeping them would show
PERIOD = 30

MAIN = """
import resource, sys
from pathlib import Path
from tests.job import run
root = Path(sys.argv[1])
report = run(root, root / "cache", root / "out")
assert not report.troubles, report.troubles
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def clip_of(folder: Path, periods: int) -> Path:
    """One clip of equal scenes, with a query at its end."""
    length = PERIOD * periods
    query = query_set(RED, 4, 28, (15, 21))
    query["query_frame"] = length - 2
    clip = clip_json("long", {"1": query})
    clip["clip_end_frame"], clip["clip_end_sec"] = 6 * length, length / 5
    write_annotations(folder, [clip])
    (folder / "v2/clips").mkdir()
    size = (96 * SCALE, 64 * SCALE)
    shown = [cv2.resize(frame(i), size, interpolation=cv2.INTER_NEAREST) for i in range(PERIOD)]
    write_video(folder / "v2/clips/long.mp4", shown * periods)
    return folder


def peak_mib(folder: Path) -> int:
    command = [sys.executable, "-c", MAIN, str(folder)]
    return int(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout)


def many_clips(folder: Path, count: int) -> Path:
    """Clips of one scene and one query each, their files equal but for the shade."""
    clips = [clip_json(f"clip{n}", {"1": query_set(RED, 4, 28, (15, 21))}) for n in range(count)]
    write_annotations(folder, clips)
    (folder / "v2/clips").mkdir()
    size = (96 * SCALE, 64 * SCALE)
    for n in range(count):
        scene = (frame(i, 60 + 2 * n) for i in range(PERIOD))
        shown = (cv2.resize(image, size, interpolation=cv2.INTER_NEAREST) for image in scene)
        write_video(folder / f"v2/clips/clip{n}.mp4", shown)
    return folder


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss has other units elsewhere")
def test_a_clip_ten_times_as_long_needs_no_more_memory(tmp_path):
    short, long = (peak_mib(clip_of(tmp_path / str(n), n)) for n in (2, 20))
    assert long < short + 48  # 540 more frames are 237 MiB, their tokens 6 MiB


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss has other units elsewhere")
def test_ten_times_as_many_clips_need_no_more_memory(tmp_path):
    few, many = (peak_mib(many_clips(tmp_path / str(n), n)) for n in (2, 20))
    assert many < few + 48  # the frames of 18 more clips are 237 MiB
