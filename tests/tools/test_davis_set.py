"""DAVIS sequences as a set in VQ2D's form: legal queries, exact boxes, what each clip shows."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from ren_core.errors import DataError
from tools.davis_set import TITLES, main, make_set, read_shots
from vq2d.ego4d.annotations import load_annotations
from vq2d.ego4d.clips import open_clip
from vq2d.job.absence import absent_pairs, load_absence

NAMES = ("camel", "dog", "libby")
FRAMES = 10
LEVELS = {"camel": 60, "dog": 120, "libby": 200}


def left(i):
    return 4 + 3 * i


@pytest.fixture
def davis(tmp_path):
    """Sequences of a bright square that moves to the right, on grey of a level of their own."""
    for name in NAMES:
        for kind in ("frames", "masks"):
            (tmp_path / kind / name).mkdir(parents=True)
        for i in range(FRAMES):
            picture = np.full((48, 64, 3), LEVELS[name], np.uint8)
            mask = np.zeros((48, 64), np.uint8)
            mask[10:26, left(i) : left(i) + 16] = 255
            picture[mask > 0] = 255
            cv2.imwrite(str(tmp_path / f"frames/{name}/{2 * i:05d}.jpg"), picture)
            cv2.imwrite(str(tmp_path / f"masks/{name}/{2 * i:05d}.png"), mask)
    return tmp_path


@pytest.fixture
def made(davis, tmp_path):
    out = tmp_path / "set"
    make_set(davis, out, NAMES)
    return out, load_annotations(out / "v2/annotations/vq_val.json")


def test_every_query_is_legal(made):
    _, annotations = made
    assert len(annotations.query_sets) == 2 * len(NAMES)
    assert not annotations.problems
    for clip in annotations.clips:
        assert clip.num_frames == 12
        shot = [i // 3 for i in range(12)]  # A B A B, three frames each
        for query in clip.queries:
            track = range(query.response.start_frame, query.response.end_frame)
            (shown,) = {shot[i] % 2 for i in track}
            assert len(track) == 3
            assert shot[query.crop_frame] % 2 == shown
            assert query.crop_frame not in track
            after = shot[track.stop : query.query_frame]
            assert after
            assert all(number % 2 != shown for number in after)


def test_boxes_and_pictures_are_those_of_the_masks_and_frames(made):
    out, annotations = made
    clip = annotations.clips[0]  # camel, dog
    frames = open_clip(out, clip)
    assert len(frames) == 12
    assert [int(np.median(frames[i])) for i in (0, 3, 6, 9)] == pytest.approx(
        [60, 120, 60, 120], abs=4
    )
    about = {query.object_title: query for query in clip.queries}
    camel, dog = about[TITLES["camel"]], about[TITLES["dog"]]
    assert camel.response.boxes_xyxy.tolist() == [
        [left(i), 10, left(i) + 16, 26] for i in (7, 8, 9)
    ]
    assert dog.response.boxes_xyxy[:, 0].tolist() == [left(i) for i in (0, 1, 2)]
    assert camel.crop_box_xyxy.tolist() == [left(1), 10, left(1) + 16, 26]


def test_a_clip_lacks_all_but_its_two_sequences(made):
    out, annotations = made
    absence = load_absence(out / "absent.json")
    pairs = absent_pairs(absence, annotations)
    assert [pair.kind for pair in pairs] == ["other"] * 6  # each sequence is in two of three clips
    for pair in pairs:
        assert absence.asked[str(pair.query.key)] not in absence.shown[pair.clip.clip_uid]


def test_a_sequence_without_its_object_is_refused(davis):
    cv2.imwrite(str(davis / "masks/dog/00000.png"), np.zeros((48, 64), np.uint8))
    with pytest.raises(DataError, match=r"00000\.png is empty; leave the sequence dog out"):
        read_shots(davis, "dog")[0].seen()


def test_frames_need_masks(davis):
    (davis / "masks/dog/00000.png").unlink()
    with pytest.raises(DataError, match="10 frames and 9 masks of dog"):
        read_shots(davis, "dog")


@pytest.mark.data
@pytest.mark.slow
def test_the_shared_sequences_make_a_set(shared, tmp_path):
    assert main(["--davis", str(shared / "data/eval/davis_dev"), "--out", str(tmp_path)]) == 0
    annotations = load_annotations(tmp_path / "v2/annotations/vq_val.json")
    assert len(annotations.query_sets) == 20
    assert len(absent_pairs(load_absence(tmp_path / "absent.json"), annotations)) == 160
