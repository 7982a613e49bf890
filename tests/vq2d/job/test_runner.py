"""The main job on synthetic clips with tiny models: found, counted, resumed, nothing held."""

from __future__ import annotations

import errno
import json
import threading
import weakref
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ren_core.errors import DataError, RunStoppedError
from tests.clips import (
    BLUE,
    FRAMES,
    RED,
    FramesInMemory,
    clip_json,
    frame,
    place,
    query_set,
    write_annotations,
)
from tests.job import CONFIG, make_answerer, make_runner, run, tiny_localizer
from tests.synthetic import write_video
from tests.tiny import tiny_ren
from vq2d.ego4d import clips as video
from vq2d.job.answerer import Answerer, ClipFiles
from vq2d.job.outputs import write_failures
from vq2d.job.task import RunReport, Trouble
from vq2d.localize.encode import EncodeConfig, TokenEncoder
from vq2d.localize.presets import VQ2DConfig
from vq2d.localize.saved import load_localization
from vq2d.localize.search import SearchConfig
from vq2d.localize.tokens import TokenConfig, clip_tokens
from vq2d.scoring.metrics import evaluate
from vq2d.types import FrameScores, Localization, ObjectView, QueryKey, Question
from vq2d.video.frames import VideoFrames


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ego")
    queries = {
        "1": query_set(RED, 4, 28, (15, 21)),
        "2": query_set(BLUE, 2, 28, (9, 14)),
        "3": query_set(RED, 4, 14, (3, 8)),  # asked earlier; its crop is its only occurrence
    }
    clips = [
        clip_json(uid, queries if uid == "one" else {"1": queries["1"]})
        for uid in ("one", "two", "absent")
    ]
    write_annotations(folder, clips)
    (folder / "v2/clips").mkdir()
    for uid, shade in (("one", 90), ("two", 110)):  # equal files would share their tokens
        write_video(folder / f"v2/clips/{uid}.mp4", [frame(i, shade) for i in range(FRAMES)])
    return folder


EMPTY = FrameScores(np.zeros(0, np.int32), np.zeros(0, np.float32), np.zeros((0, 2), np.float32))


@pytest.fixture(scope="module")
def finished(root, tmp_path_factory):
    out = tmp_path_factory.mktemp("finished")
    return run(root, out / "cache", out), out


def test_the_last_occurrences_are_found(finished, root):
    _, out = finished
    submission = json.loads((out / "submission.json").read_text())
    sets = submission["results"]["videos"][0]["clips"][0]["predictions"][0]["query_sets"]
    assert [b["fno"] for b in sets["1"]["bboxes"]] == list(range(15, 21))
    assert [b["fno"] for b in sets["2"]["bboxes"]] == list(range(9, 14))
    figures = evaluate(submission, json.loads((root / "v2/annotations/vq_val.json").read_text()))
    assert figures["success"] >= 50  # one clip is absent, one query has no other occurrence


@pytest.mark.parametrize(
    ("search_end", "answer"),
    [
        (25, (3, 8)),  # 15 to 20 is the occurrence of the query's own picture
        (12, None),  # nothing but frames before it
    ],
)
def test_the_rest_of_the_querys_own_occurrence_yields(tmp_path, search_end, answer):
    frames = FramesInMemory([frame(i) for i in range(FRAMES)])
    # only the picture's own frame is suppressed: the search sees the occurrence go on
    config = replace(CONFIG, search=replace(CONFIG.search, own_similarity=1.0))
    localizer = tiny_localizer(config)
    encoder = localizer.models.encoder
    chunks = clip_tokens(frames, encoder, config.tokens, directory=tmp_path, num_frames=FRAMES)
    crop = 17 if answer else 5
    question = Question((ObjectView(frames[crop], place(RED, crop)),), search_end, crop)
    track = localizer.localize(question, frames, chunks).track
    assert track is not None
    expected = answer or (6, 8)  # without another candidate it is kept, from after the picture
    assert (track.start_frame, track.end_frame) == expected


def test_an_absent_clip_is_reported_and_the_others_go_on(finished):
    report, out = finished
    failures = json.loads((out / "failures.json").read_text())
    assert list(failures) == ["not answered"]
    assert list(failures["not answered"]) == ["v0-c2-a0-q1"]
    assert "absent" in failures["not answered"]["v0-c2-a0-q1"]
    assert len(report.answers) == 4
    submission = json.loads((out / "submission.json").read_text())
    empty = submission["results"]["videos"][0]["clips"][2]["predictions"][0]["query_sets"]
    assert empty == {"1": {"bboxes": [], "score": 0.0}}


def test_traces_tell_what_each_stage_knew(finished):
    traces = json.loads((finished[1] / "trace.json").read_text())
    good = traces["v0-c0-a0-q1"]
    assert good["tracked_candidate_in_truth"]
    assert good["seed_box_iou"] > 0.8
    assert len(traces) == 4


def test_each_crop_of_each_frame_is_encoded_once(root, tmp_path):
    runner = make_runner(root, tmp_path / "cache")
    grids = []
    encoder = runner.pool.worker.localizer.models.encoder
    original = encoder.regions
    encoder.regions = lambda images: grids.append(len(images)) or original(images)
    runner.pool.worker.localizer.localize = lambda *_: (_ for _ in ()).throw(DataError("not now"))
    report = runner.run()
    assert sum(grids) == 2 * 5 * FRAMES  # two clips, whatever the number of queries
    assert len(report.reasons(Trouble.NOT_ANSWERED)) == 5


@pytest.mark.parametrize("space", ["ren", "aligned", "patch", "ren+patch", "mask"])
def test_tokens_of_every_space_survive_the_disk(space, tmp_path):
    encoder = TokenEncoder(tiny_ren(aggregate=False), EncodeConfig(space=space))
    images = [frame(i) for i in range(3)]
    frames = FramesInMemory(images)
    config = TokenConfig(crop_factors=(1,), chunk_frames=2)
    chunks = clip_tokens(frames, encoder, config, directory=tmp_path, num_frames=3)
    made = torch.cat([encoder.regions([image])[0].vectors for image in images])
    query = made[:3]
    kept = np.concatenate([chunk.similarities(query).own for chunk in chunks])
    expected = (made @ query.T).amax(dim=1).numpy()
    np.testing.assert_allclose(kept, expected, atol=2e-3)


def test_a_second_run_does_nothing(finished, root):
    report, out = finished
    before = {p: p.stat().st_mtime_ns for p in (out / "cache").rglob("*") if p.is_file()}
    again = run(root, out / "cache", out)
    assert report.images_encoded > 0
    assert again.images_encoded == 0
    assert {p: p.stat().st_mtime_ns for p in before} == before


def test_tokens_are_shared_by_presets_of_later_stages(finished, root, tmp_path):
    _, out = finished
    config = VQ2DConfig(
        grid_size=8, encode=CONFIG.encode, tokens=CONFIG.tokens, search=SearchConfig(top_k=2)
    )
    first, other = (make_answerer(root, out / "cache", c) for c in (CONFIG, config))
    assert other.tokens_dir == first.tokens_dir
    assert other.answers_dir != first.answers_dir


def test_limit_and_overwrite(root, tmp_path):
    report = run(root, tmp_path / "cache", tmp_path, limit=2)
    assert len(report.answers) == 2
    again = run(root, tmp_path / "cache", tmp_path, limit=2, overwrite=True)
    assert 0 < again.images_encoded < report.images_encoded  # queries anew, tokens kept


def test_answers_survive_the_disk(finished):
    answer = finished[0].answers[0]
    found = load_localization(answer.task.path)
    assert found.seed.frame_idx in [c.frame_idx for c in found.candidates]
    assert found.track.boxes_xyxy.dtype == np.float32
    assert len(found.scores.frame_idx) == 28


def many_clips(folder, count):
    """``count`` clips of one query each, their files equal but for the shade."""
    queries = {"1": query_set(RED, 4, 28, (15, 21))}
    write_annotations(folder, [clip_json(f"clip{i}", queries) for i in range(count)])
    (folder / "v2/clips").mkdir()
    for n in range(count):
        images = [frame(i, 90 + n) for i in range(FRAMES)]
        write_video(folder / f"v2/clips/clip{n}.mp4", images)
    return folder


def test_one_clip_is_held_at_a_time(tmp_path, monkeypatch):
    root = many_clips(tmp_path, 5)
    runner = make_runner(root, tmp_path / "cache")
    alive, held, files = weakref.WeakSet(), [], []

    def counted(*args, **options):
        frames = video.open_clip(*args, **options)
        alive.add(frames)
        held.append(len(alive))
        files.append(len(list(Path("/proc/self/fd").iterdir())) if Path("/proc").is_dir() else 0)
        return frames

    monkeypatch.setattr("vq2d.job.answerer.open_clip", counted)
    report = runner.run()
    assert len(report.answers) == 5
    assert max(held) == 1
    assert max(files) <= files[0] + 1
    assert not alive


@pytest.mark.parametrize("error", [OSError("too many open files"), ValueError("odd"), KeyError(1)])
def test_whatever_goes_wrong_with_one_clip_the_others_go_on(root, tmp_path, monkeypatch, error):
    def fails_on_two(folder, clip, **options):
        if clip.clip_uid == "two":
            raise error
        return video.open_clip(folder, clip)

    monkeypatch.setattr("vq2d.job.answerer.open_clip", fails_on_two)
    runner = make_runner(root, tmp_path / "cache")
    runner.pool.worker.localizer.localize = lambda *_: Localization(None, EMPTY, (), None, 1)
    report = runner.run()
    assert len(report.answers) == 3
    assert (
        report.reasons(Trouble.NOT_ANSWERED)[QueryKey(0, 1, 0, "1")]
        == f"{type(error).__name__}: {error}"
    )


def edited(root, folder, change):
    """The data of ``root`` with its annotation file changed."""
    document = json.loads((root / "v2/annotations/vq_val.json").read_text())
    change(document["videos"][0]["clips"])
    (folder / "v2/annotations").mkdir(parents=True)
    (folder / "v2/annotations/vq_val.json").write_text(json.dumps(document))
    (folder / "v2/clips").symlink_to(root / "v2/clips")
    return folder


@pytest.mark.parametrize("error", [DataError("frame 13 is broken"), ValueError("odd")])
def test_a_decoder_that_fails_in_its_thread_costs_its_clip_only(root, tmp_path, monkeypatch, error):
    """As on a GPU: some batches ahead of the one that is encoded."""
    monkeypatch.setattr(TokenEncoder, "streams", property(lambda encoder: True))
    read, threads = VideoFrames.__getitem__, set()

    def failing(frames, i):
        if frames.path.stem == "one" and i == 13:
            threads.add(threading.current_thread())
            raise error
        return read(frames, i)

    monkeypatch.setattr(VideoFrames, "__getitem__", failing)
    config = replace(CONFIG, encode=EncodeConfig())
    report = make_runner(root, tmp_path, config).run()
    reasons = report.reasons(Trouble.NOT_ANSWERED)
    assert {str(key)[:5] for key in reasons} == {"v0-c0", "v0-c2"}  # the latter has no file
    assert str(error) in reasons[QueryKey(0, 0, 0, "1")]
    assert [answer.task.clip.clip_uid for answer in report.answers] == ["two"]
    assert threading.main_thread() not in threads
    assert not any(thread.is_alive() for thread in threads)


def test_damaged_queries_are_failures_and_count_as_asked(root, tmp_path):
    def damage(clips):
        clips[0]["annotations"][0]["query_sets"]["1"]["visual_crop"]["width"] = 0
        clips[1]["clip_fps"] = -5

    folder = edited(root, tmp_path, damage)
    runner = make_runner(folder, tmp_path / "cache")
    runner.pool.worker.localizer.localize = lambda *_: Localization(None, EMPTY, (), None, 1)
    report = runner.run()
    reasons = {str(key): reason for key, reason in report.reasons(Trouble.NOT_ANSWERED).items()}
    assert "no area" in reasons.pop("v0-c0-a0-q1")
    assert "clip_fps" in reasons.pop("v0-c1-a0-q1")
    assert list(reasons) == ["v0-c2-a0-q1"]
    assert len(report.asked) == 5
    assert list(runner.run(limit=1).reasons(Trouble.NOT_ANSWERED)) == [QueryKey(0, 0, 0, "1")]
    write_failures(report, tmp_path)
    listed = json.loads((tmp_path / "failures.json").read_text())
    assert list(listed) == ["not answered"]
    assert list(listed["not answered"]) == ["v0-c0-a0-q1", "v0-c1-a0-q1", "v0-c2-a0-q1"]


def test_a_clip_that_ends_early_is_searched_as_far_as_it_goes(root, tmp_path):
    def ask_late(clips):
        clips[1]["annotations"][0]["query_sets"]["1"]["query_frame"] = FRAMES + 1

    folder = edited(root, tmp_path, ask_late)
    report = run(folder, tmp_path / "cache", tmp_path)
    key = QueryKey(0, 1, 0, "1")
    assert list(report.reasons(Trouble.CUT_SHORT)) == [key]
    assert "ends after 30 of the 31 frames" in report.reasons(Trouble.CUT_SHORT)[key]
    assert key in [answer.task.key for answer in report.answers]
    listed = json.loads((tmp_path / "failures.json").read_text())
    assert list(listed["answered in part"]) == ["v0-c1-a0-q1"]
    submission = json.loads((tmp_path / "submission.json").read_text())
    sets = submission["results"]["videos"][0]["clips"][1]["predictions"][0]["query_sets"]
    assert [b["fno"] for b in sets["1"]["bboxes"]] == list(range(15, 21))


def test_answers_know_the_weights_of_segmenter_and_tracker(root, tmp_path):
    files, localizer = ClipFiles(root), tiny_localizer()
    first, other = (
        Answerer(files, localizer, cache=tmp_path, weights=[weights])
        for weights in ("0123", "4567")
    )
    assert first.tokens_dir == other.tokens_dir
    assert first.answers_dir != other.answers_dir


FULL = OSError(errno.ENOSPC, "No space left on device")


def wrapped():
    try:
        raise MemoryError("no memory")
    except MemoryError as err:
        raise DataError("this clip could not be read") from err


@pytest.mark.parametrize("error", [FULL, MemoryError("no memory"), torch.OutOfMemoryError("GPU")])
def test_a_fault_of_the_machine_stops_the_run_at_once(root, tmp_path, monkeypatch, error):
    tried = []

    def no_room(*args, **options):
        tried.append(args)
        raise error

    monkeypatch.setattr("vq2d.job.answerer.clip_tokens", no_room)
    with pytest.raises(RunStoppedError, match=r"stopped at clip one: .*; mend that and give the"):
        make_runner(root, tmp_path / "cache").run()
    assert len(tried) == 1


def test_so_does_one_that_only_caused_another_error():
    report = RunReport()
    with (
        pytest.raises(RunStoppedError, match="stopped at clip a"),
        report.guard(Trouble.NOT_ANSWERED, [], "clip a"),
    ):
        wrapped()


def test_the_same_unexpected_error_three_times_running_stops_the_run():
    report, keys = RunReport(), [QueryKey(0, 0, 0, str(i)) for i in range(9)]

    def meet(i, error):
        with report.guard(Trouble.NOT_ANSWERED, [keys[i]], f"query {i}"):
            raise error

    for i in range(4):  # known kinds of damage never stop a run
        meet(i, DataError(f"clip {i} is damaged"))
    meet(4, KeyError("x"))
    meet(5, KeyError("y"))
    with report.guard(Trouble.NOT_ANSWERED, [keys[5]], "query 5"):
        pass
    meet(6, KeyError("z"))  # not running
    meet(7, KeyError("z"))
    with pytest.raises(RunStoppedError, match=r"stopped at query 8: the same error 3 times"):
        meet(8, KeyError("z"))
    assert len(report.reasons(Trouble.NOT_ANSWERED)) == 9


def test_a_damaged_clip_is_answered_in_part_with_what_is_missing(tmp_path):
    root = tmp_path / "ego"
    write_annotations(root, [clip_json("one", {"1": query_set(RED, 4, 28, (15, 21))})])
    (root / "v2/clips").mkdir()
    path = root / "v2/clips/one.mp4"
    write_video(path, [frame(i) for i in range(FRAMES)], keyint=5)
    content = bytearray(path.read_bytes())
    start, end = content.index(b"mdat") + 4, content.index(b"moov") - 4
    from_, stop = start + (end - start) // 3, start + (end - start) // 2
    content[from_:stop] = bytes(stop - from_)
    path.write_bytes(content)
    first = run(root, tmp_path / "cache", tmp_path)
    (reason,) = first.reasons(Trouble.CUT_SHORT).values()
    assert "the file of clip one cannot be decoded at frames 3 to 14; it was answered" in reason
    again = run(root, tmp_path / "cache", tmp_path)
    assert again.images_encoded == 0
    assert again.reasons(Trouble.CUT_SHORT) == first.reasons(Trouble.CUT_SHORT)
