"""Queries asked of clips with and without their thing: evidence, rows on disk, faults."""

from __future__ import annotations

import json

import pytest

from tests.clips import (
    FRAMES,
    RED,
    clip_json,
    frame,
    query_set,
    write_annotations,
)
from tests.job import CONFIG, make_answerer, make_runner
from tests.synthetic import write_video
from vq2d.ego4d import clips as video
from vq2d.ego4d.annotations import load_annotations
from vq2d.job.absence import absent_pairs, load_absence, present_pairs
from vq2d.job.asking import ask_pairs

BLANK = 25  # a frame that shows neither square


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Two clips with the red square, one of 20 frames without it, and one without a file."""
    folder = tmp_path_factory.mktemp("ego")
    queries = {"1": query_set(RED, 4, 28, (15, 21))}
    uids = ("one", "two", "blank", "missing")
    write_annotations(
        folder, [clip_json(uid, queries if uid in ("one", "two") else {}) for uid in uids]
    )
    (folder / "v2/clips").mkdir()
    for uid, shade in (("one", 90), ("two", 110)):
        write_video(folder / f"v2/clips/{uid}.mp4", [frame(i, shade) for i in range(FRAMES)])
    write_video(folder / "v2/clips/blank.mp4", [frame(BLANK, 100)] * 20)
    (folder / "absent.json").write_text(
        json.dumps(
            {
                "clips": {"one": ["red"], "two": ["red"], "blank": [], "missing": []},
                "queries": {"v0-c0-a0-q1": "red", "v0-c1-a0-q1": "red"},
                "twins": [],
            }
        )
    )
    return folder


def pairs_of(root):
    absence = load_absence(root / "absent.json")
    annotations = load_annotations(root / "v2/annotations/vq_val.json")
    return present_pairs(absence, annotations) + absent_pairs(absence, annotations)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def asked(root, cache):
    answerer = make_answerer(root, cache)
    return answerer, ask_pairs(answerer, pairs_of(root))


def test_present_things_score_above_absent_ones(asked):
    _, report = asked
    rows = {(row.query, row.clip_uid): row for row in report.rows}
    present, absent = rows["v0-c0-a0-q1", "one"], rows["v0-c0-a0-q1", "blank"]
    assert (present.kind, absent.kind) == ("present", "other")
    assert present.similarity > absent.similarity + 0.05
    assert present.refined > absent.refined
    assert (present.search_frames, absent.search_frames) == (28, 20)  # as far as the clip goes
    assert absent.seconds > 0
    assert len(rows) == 4


def test_a_clip_without_a_file_costs_its_own_questions_only(asked):
    _, report = asked
    assert sorted(report.failures) == [
        "query v0-c0-a0-q1 of clip missing",
        "query v0-c1-a0-q1 of clip missing",
    ]
    assert "missing.mp4 is missing" in report.failures["query v0-c0-a0-q1 of clip missing"]


def test_a_second_run_asks_nothing_and_overwrite_asks_again(asked, root):
    answerer, report = asked
    again = ask_pairs(answerer, pairs_of(root))
    assert again.images_encoded == 0
    assert again.rows == report.rows
    anew = ask_pairs(answerer, pairs_of(root), overwrite=True)
    assert 0 < anew.images_encoded < report.images_encoded  # the tokens are kept


def test_the_runs_own_answers_take_the_same_tokens(asked, root, cache):
    runner, grids = make_runner(root, cache), []
    encoder = runner.pool.worker.localizer.models.encoder
    original = encoder.regions
    encoder.regions = lambda images: grids.append(len(images)) or original(images)
    assert len(runner.run().answers) == 2
    assert max(grids) < CONFIG.tokens.batch_crops  # zooms of candidates only


def test_a_present_question_leaves_its_own_occurrence_out(asked, root, cache):
    answerer = make_answerer(root, cache)
    questions = []
    original = answerer.localizer.candidates

    def noted(question, frames, chunks):
        questions.append(question)
        return original(question, frames, chunks)

    answerer.localizer.candidates = noted
    first = [pair for pair in pairs_of(root) if pair.query.key.clip_idx == 0]
    ask_pairs(answerer, first, overwrite=True)
    assert [(q.crop_frame, q.search_end) for q in questions] == [(4, 28), (None, 20)]


@pytest.mark.parametrize("bad", ["one", "blank"])
def test_whatever_goes_wrong_with_one_clip_the_others_go_on(asked, root, cache, monkeypatch, bad):
    def fails(folder, clip, **options):
        if clip.clip_uid == bad:
            raise KeyError(bad)
        return video.open_clip(folder, clip)

    monkeypatch.setattr("vq2d.job.answerer.open_clip", fails)
    answerer = make_answerer(root, cache)
    report = ask_pairs(answerer, pairs_of(root), overwrite=True)
    assert {row.clip_uid for row in report.rows} == {"two", "blank", "one"} - {bad}
    assert f"KeyError: '{bad}'" in report.failures.values()


def test_an_answer_that_fails_again_is_no_row(asked, root, cache):
    answerer = make_answerer(root, cache)
    pairs = pairs_of(root)[:1]
    assert len(ask_pairs(answerer, pairs).rows) == 1
    answerer.localizer.candidates = lambda *_: (_ for _ in ()).throw(KeyError("broken"))
    report = ask_pairs(answerer, pairs, overwrite=True)
    assert report.rows == []
    assert report.failures == {"query v0-c0-a0-q1 of clip one": "KeyError: 'broken'"}
