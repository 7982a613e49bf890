"""Files of clips: which frames of them, and what is said where they are missing."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from ren_core.errors import DataError
from tests.places import SHARED
from tests.synthetic import frame_number, write_numbered
from vq2d.ego4d.annotations import Clip, annotation_path, load_annotations
from vq2d.ego4d.clips import open_clip
from vq2d.video import readers
from vq2d.video.readers import DecordReader

CLIP = Clip("video", "clip", 300, 450, 5.0, 25, ())


def test_clip_file_and_cut_out_of_the_video(tmp_path):
    (tmp_path / "v2" / "full_scale").mkdir(parents=True)
    (tmp_path / "v2" / "clips").mkdir()
    write_numbered(tmp_path / "v2/full_scale/video.mp4", 430, 30)
    cut = open_clip(tmp_path, CLIP)  # 450 announced, 430 there
    assert [frame_number(f) for f in cut] == list(range(300, 430, 6))
    whole = open_clip(tmp_path, replace(CLIP, clip_uid=None, num_frames=7, video_start_frame=30))
    assert [frame_number(f) for f in whole] == list(range(30, 72, 6))
    assert whole.fingerprint != cut.fingerprint

    write_numbered(tmp_path / "v2/clips/clip.mp4", 130, 30)
    own = open_clip(tmp_path, CLIP)
    assert [frame_number(f) for f in own] == list(range(0, 130, 6))


def test_missing_clip_says_what_to_do(tmp_path):
    with pytest.raises(DataError, match=r"clip\.mp4 is missing, .*; .*check-data"):
        open_clip(tmp_path, CLIP)


def test_a_clip_without_uid_can_only_be_cut_from_its_video(tmp_path):
    with pytest.raises(DataError) as caught:
        open_clip(tmp_path, replace(CLIP, clip_uid=None))
    message = str(caught.value)
    assert "uid is null" in message
    assert "full_scale/video.mp4 is missing" in message
    assert "None" not in message


@pytest.mark.data
@pytest.mark.skipif(not (SHARED / "data").is_dir(), reason="needs ../shared/data")
@pytest.mark.parametrize("name", ["realvq_dev", "synvq_dev"])
def test_development_clips(name):
    root = SHARED / "data" / name
    annotations = load_annotations(annotation_path(root, "val"))
    assert not annotations.problems
    for clip in annotations.clips:
        fast, plain = open_clip(root, clip, reader="decord"), open_clip(root, clip)
        assert len(fast) == len(plain) == clip.num_frames
        for i in (len(fast) - 1, len(fast) - 2, 3, 0):
            assert np.array_equal(fast[i], plain[i])
        assert isinstance(fast._decoders[0].reader, DecordReader) == (readers.decord is not None)
        assert all(q.crop_frame < len(fast) for q in clip.queries)


@pytest.mark.data
@pytest.mark.skipif(not (SHARED / "data").is_dir(), reason="needs ../shared/data")
def test_test_split_lists_the_same_clips():
    for name in ("realvq_dev", "synvq_dev"):
        root = SHARED / "data" / name
        val, test = (load_annotations(annotation_path(root, s)) for s in ("val", "test"))
        uids = {clip.clip_uid for clip in val.clips}
        assert {clip.clip_uid for clip in test.clips} <= uids
        assert all(q.response is None for clip in test.clips for q in clip.queries)
        assert json.loads(test.path.read_text())["version"] == test.version
