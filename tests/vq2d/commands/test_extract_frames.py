"""Training pictures of the sample: every n-th frame, small, resumable, bad clips listed."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from ren_core.images import list_image_tree
from tests.places import SAMPLE
from vq2d.commands import extract_frames
from vq2d.commands.extract_frames import clip_name, shrink
from vq2d.commands.frame_config import FrameConfig
from vq2d.ego4d.annotations import load_annotations
from vq2d.ego4d.clips import open_clip


@pytest.fixture
def ego4d(tmp_path):
    """The sample as a train split whose second clip is cut off."""
    root = tmp_path / "ego4d"
    shutil.copytree(SAMPLE / "v2", root / "v2")
    annotations = root / "v2/annotations"
    (annotations / "vq_val.json").rename(annotations / "vq_train.json")
    return root


def _clips(root):
    return sorted((root / "v2/clips").iterdir())


def _main(root, out, *more):
    return extract_frames.main(["--data", str(root), "--out", str(out), *more])


def test_every_nth_frame_of_every_clip_and_a_truncated_one_is_listed(ego4d, tmp_path, capsys):
    good, bad, other = _clips(ego4d)
    whole = bad.read_bytes()
    bad.write_bytes(whole[: len(whole) // 2])
    assert _main(ego4d, tmp_path / "out") == 1
    stage = Path(capsys.readouterr().out.strip())
    manifest = json.loads((stage / "manifest.json").read_text())
    assert set(manifest) == {clip.stem for clip in (good, bad, other)}
    assert str(bad.name) in manifest[bad.stem]["error"]
    pictures = list_image_tree(stage)
    assert {picture.parent.name for picture in pictures} == {good.stem, other.stem}
    frames = [p.name for p in pictures if p.parent.name == good.stem]
    assert frames == [f"{i:06d}.jpg" for i in range(0, 75 * len(frames), 75)]
    assert manifest[good.stem]["frames"] == len(frames) >= 3

    clips = load_annotations(ego4d / "v2/annotations/vq_train.json").clips
    clip = next(clip for clip in clips if clip.clip_uid == good.stem)
    expected = cv2.resize(open_clip(ego4d, clip)[75], (288, 384), interpolation=cv2.INTER_AREA)
    stored = cv2.imread(str(stage / good.stem / "000075.jpg"))[..., ::-1]
    assert stored.shape == (384, 288, 3)  # the first clip is upright
    assert np.abs(stored.astype(int) - expected).mean() < 3

    # the clip is fetched again: it alone is done
    times = {picture: picture.stat().st_mtime_ns for picture in pictures}
    bad.write_bytes(whole)
    assert _main(ego4d, tmp_path / "out") == 0
    assert (stage / bad.stem / "000150.jpg").is_file()
    assert {picture: picture.stat().st_mtime_ns for picture in pictures} == times
    assert _main(ego4d, tmp_path / "out", "--overwrite", "--limit", "1") == 0
    assert {p.parent.name for p in pictures if p.stat().st_mtime_ns != times[p]} == {good.stem}
    times = {picture: picture.stat().st_mtime_ns for picture in pictures}
    good.unlink()  # its pictures stay, and it is not missed
    shutil.copy(bad, other)  # another content under the same name
    assert _main(ego4d, tmp_path / "out") == 0
    assert {p.parent.name for p in pictures if p.stat().st_mtime_ns != times[p]} == {other.stem}


def test_a_killed_run_goes_on_with_the_next_clip(ego4d, tmp_path, monkeypatch):
    opened = []

    def dies_at_the_second(root, clip):
        opened.append(clip.clip_uid)
        if len(opened) == 2:
            raise KeyboardInterrupt
        return open_clip(root, clip)

    monkeypatch.setattr(extract_frames, "open_clip", dies_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        _main(ego4d, tmp_path / "out")
    assert _main(ego4d, tmp_path / "out") == 0
    uids = [clip.stem for clip in _clips(ego4d)]
    assert opened == [uids[0], uids[1], uids[1], uids[2]]


def test_options_make_another_stage(ego4d, tmp_path, capsys):
    options = ["--take-every", "100", "--short-side", "90", "--long-side", "100", "--limit", "1"]
    assert _main(ego4d, tmp_path / "out", *options) == 0
    stage = Path(capsys.readouterr().out.strip())
    pictures = list_image_tree(stage)
    assert [picture.stem for picture in pictures] == ["000000", "000100", "000200"]
    assert cv2.imread(str(pictures[0])).shape == (100, 75, 3)
    assert _main(ego4d, tmp_path / "out", *options[:-4], "--limit", "0") == 0
    assert Path(capsys.readouterr().out.strip()) != stage


def test_mistakes_are_sentences(tmp_path, capsys):
    assert _main(tmp_path, tmp_path / "out") == 1
    assert "vq_train.json" in capsys.readouterr().err
    assert _main(SAMPLE, tmp_path / "out", "--take-every", "0") == 2
    assert "take_every" in capsys.readouterr().err


def test_a_clip_without_a_name_gets_one():
    (clip, *_) = load_annotations(SAMPLE / "v2/annotations/vq_val.json").clips
    assert clip_name(clip) == clip.clip_uid
    unnamed = replace(clip, clip_uid=None, video_uid="v", video_start_frame=7)
    assert clip_name(unnamed) == "v-7"


@pytest.mark.parametrize(
    ("size_hw", "expected"),
    [((1080, 1920), (288, 512)), ((1440, 1920), (288, 384)), ((1000, 400), (512, 205)),
     ((200, 300), (200, 300))],
)  # fmt: skip
def test_both_sides_are_bounded(size_hw, expected):
    assert shrink(np.zeros((*size_hw, 3), np.uint8), FrameConfig()).shape == (*expected, 3)
