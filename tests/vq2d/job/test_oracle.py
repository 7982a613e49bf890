"""What the truth changes in an answer, stage by stage, on one synthetic clip."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from tests.clips import FRAMES, RED, clip_json, frame, place, query_set, write_annotations
from tests.job import run, tiny_localizer
from tests.synthetic import write_video
from vq2d.ego4d.annotations import load_annotations
from vq2d.job.oracle import (
    ORACLES,
    from_true_occurrence,
    from_true_seed,
    with_true_outlines,
    write_oracle_submission,
)
from vq2d.job.task import RunReport
from vq2d.types import Candidate, ResponseTrack

TRUE = range(15, 21)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ego")
    write_annotations(folder, [clip_json("one", {"1": query_set(RED, 4, 28, (15, 21))})])
    (folder / "v2/clips").mkdir()
    write_video(folder / "v2/clips/one.mp4", [frame(i) for i in range(FRAMES)])
    return folder


@pytest.fixture(scope="module")
def answer(root, tmp_path_factory):
    out = tmp_path_factory.mktemp("run")
    return run(root, out / "cache", out).answers[0]


def candidate(frame_idx, score, shift=0.0):
    box = place(RED, frame_idx) + np.float32(shift)
    return Candidate(frame_idx, (float(box[0]), float(box[1])), 0.5, box, score)


def found(answer, **changes):
    return replace(answer, found=replace(answer.found, **changes))


def check_true(track):
    assert (track.start_frame, track.end_frame) == (TRUE.start, TRUE.stop)
    expected = np.stack([place(RED, i) for i in TRUE])
    np.testing.assert_allclose(track.boxes_xyxy, expected, atol=1)


def test_a_seed_in_the_true_track_starts_from_the_true_box(answer, root):
    wrong = found(answer, seed=candidate(17, 0.9, shift=30))
    check_true(from_true_seed(wrong, tiny_localizer(), root))
    for seed in (candidate(5, 0.9), None):
        assert from_true_seed(found(answer, seed=seed), tiny_localizer(), root) is None


def test_frames_of_the_true_track_get_the_outline_of_the_true_box(answer, root):
    track = ResponseTrack(13, np.tile(np.array([1, 2, 3, 4], np.float32), (5, 1)), 0.7)
    corrected = with_true_outlines(found(answer, track=track), tiny_localizer(), root)
    assert (corrected.start_frame, corrected.score) == (13, 0.7)
    np.testing.assert_array_equal(corrected.boxes_xyxy[:2], track.boxes_xyxy[:2])
    expected = np.stack([place(RED, i) for i in (15, 16, 17)])
    np.testing.assert_allclose(corrected.boxes_xyxy[2:], expected, atol=1)
    assert (track.boxes_xyxy == [1, 2, 3, 4]).all(), "the answer itself is left alone"

    elsewhere = replace(track, start_frame=3)
    for other in (elsewhere, None):
        assert with_true_outlines(found(answer, track=other), tiny_localizer(), root) is None


def test_a_frame_without_an_outline_keeps_its_box(answer, root, monkeypatch):
    localizer = tiny_localizer()
    monkeypatch.setattr(localizer.models.segmenter, "from_box", lambda image, box: None)
    track = answer.found.track
    corrected = with_true_outlines(answer, localizer, root)
    np.testing.assert_array_equal(corrected.boxes_xyxy, track.boxes_xyxy)


def test_another_occurrence_yields_to_the_best_candidate_in_the_true_track(answer, root):
    early = candidate(5, 0.9)
    wrong = found(
        answer, seed=early, candidates=(early, candidate(16, 0.6), candidate(18, 0.5, shift=40))
    )
    track = from_true_occurrence(wrong, tiny_localizer(), root)
    check_true(track)
    assert np.isclose(track.score, 0.6)
    assert from_true_occurrence(answer, tiny_localizer(), root) is None, "the seed is right"
    nothing = found(answer, seed=early, candidates=(early,))
    assert from_true_occurrence(nothing, tiny_localizer(), root) is None


def test_the_track_of_the_true_occurrence_ends_before_the_querys_own_picture(answer, root):
    early = candidate(5, 0.9)
    query = replace(answer.task.query, crop_frame=19)
    wrong = replace(
        found(answer, seed=early, candidates=(early, candidate(16, 0.6))),
        task=replace(answer.task, query=query),
    )
    track = from_true_occurrence(wrong, tiny_localizer(), root)
    assert (track.start_frame, track.end_frame) == (15, 19)


def test_an_answer_that_no_oracle_corrects_stays(answer, root, tmp_path):
    annotations = load_annotations(root / "v2/annotations/vq_val.json")
    early = candidate(5, 0.9)
    track = ResponseTrack(5, early.box_xyxy[None], 0.9)
    report = RunReport(answers=[found(answer, seed=early, candidates=(early,), track=track)])
    for oracle in ORACLES.values():
        write_oracle_submission(
            annotations, report, tiny_localizer(), oracle, root=root, out=tmp_path
        )
        written = json.loads((tmp_path / f"submission-{oracle.stem}.json").read_text())
        sets = written["results"]["videos"][0]["clips"][0]["predictions"][0]["query_sets"]
        assert [box["fno"] for box in sets["1"]["bboxes"]] == [5]
    assert not report.troubles
