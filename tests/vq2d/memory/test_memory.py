"""A memory: made once, asked many times, never stale, never half there."""

from __future__ import annotations

import json
import logging
import shutil
import sqlite3
import stat
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import cv2
import numpy as np
import pytest

from ren_core.errors import ConfigError, DataError
from tests.clips import FRAMES, RED, frame, place
from tests.synthetic import write_video
from tests.vq2d.memory.conftest import CONFIG, RECORDED
from vq2d.memory.ask import MemoryQuestion
from vq2d.memory.store import Store
from vq2d.types import ObjectView


def seen(sightings):
    """Name and track of each sighting."""
    return [(s.video.path.stem, s.first_frame, s.end_frame) for s in sightings]


def encoded(memory):
    return memory.localizer.models.encoder.images_encoded


def test_the_last_sighting_of_all_videos_comes_first_and_earlier_ones_behind_it(memory, red):
    assert seen(memory.ask(red)) == [
        ("office", 15, 21),
        ("office", 3, 8),
        ("kitchen", 15, 21),
        ("kitchen", 3, 8),
    ]
    assert seen(memory.ask(red, top=2)) == [("office", 15, 21), ("office", 3, 8)]


def test_a_sighting_says_when_and_where_and_shows_it(memory, red):
    first = next(memory.ask(red))
    assert (first.start_s, first.end_s) == (3.0, 4.2)
    assert first.last_seen_at == RECORDED["office"] + timedelta(seconds=4.2)
    assert first.believed
    assert np.abs(first.boxes_xyxy - [place(RED, i) for i in range(15, 21)]).max() <= 1.5
    x1, y1, x2, y2 = first.boxes_xyxy[-1].astype(int)
    assert np.abs(first.frame()[y1 + 3 : y2 - 3, x1 + 3 : x2 - 3].mean((0, 1)) - RED).max() < 25


def test_a_moment_and_its_box_are_told_before_the_track_is_known(memory, red):
    told, kept = [], []
    for sighting in memory.ask(red, top=2, on_found=lambda *found: told.append(found)):
        video, candidate = told[-1]
        assert video == sighting.video
        assert sighting.first_frame <= candidate.frame_idx < sighting.end_frame
        tracked = sighting.boxes_xyxy[candidate.frame_idx - sighting.first_frame]
        assert np.abs(candidate.box_xyxy - tracked).max() <= 1.5
        kept.append(sighting)
    assert len(told) == len(kept) == 2
    assert seen(memory.ask(red, top=2, on_found=lambda *_: pytest.fail("searched"))) == seen(kept)


def test_an_answer_keeps_a_small_picture_of_what_was_asked(memory, red):
    list(memory.ask(red))
    name = memory.answer_name(red)
    picture = cv2.imread(str(memory.store.answers / f"{name}.jpg"))
    assert picture.shape == (16, 16, 3)
    assert np.abs(picture[..., ::-1].mean((0, 1)) - RED).max() < 25
    assert memory.store.read_answer(name)[1]["boxes_xyxy"] == [place(RED, 4).tolist()]


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        (RECORDED["office"], ("kitchen", 15, 21)),
        (RECORDED["office"] + timedelta(seconds=2), ("office", 3, 8)),
        (RECORDED["kitchen"] + timedelta(seconds=2), ("kitchen", 3, 8)),
    ],
)
def test_nothing_that_was_recorded_later_is_an_answer(memory, red, before, expected):
    assert seen(memory.ask(red, before, top=1)) == [expected]


def test_what_was_recorded_before_all_videos_is_not_found(memory, red):
    assert seen(memory.ask(red, RECORDED["kitchen"] - timedelta(days=1))) == []


def test_the_occurrence_that_the_picture_was_taken_from_is_no_answer(memory):
    office = next(v for v in memory.videos() if v.path.stem == "office")
    view = ObjectView(frame(16, 110), place(RED, 16))
    asked = MemoryQuestion((view,), (office.fingerprint, 16))
    assert seen(memory.ask(asked)) == [
        ("office", 3, 8),
        ("kitchen", 15, 21),
        ("kitchen", 3, 8),
    ]


def test_what_is_known_is_not_made_again(memory, videos):
    assert memory.add(videos / "office.mp4") is not None
    assert encoded(memory) == 0


def test_an_answer_that_was_given_is_read_from_disk(memory, make, red, videos):
    given = seen(memory.ask(red))
    again = make()
    assert seen(again.ask(red)) == given
    assert encoded(again) == 0
    again.add(write_video(videos.parent / "new.mp4", [frame(i, 70) for i in range(FRAMES)]))
    assert seen(again.ask(red, top=1))[0][0] == "new"  # nothing stale


def test_an_answer_is_kept_though_only_its_first_sighting_is_taken(memory, make, red):
    first = next(memory.ask(red, top=1))
    again = make()
    assert next(again.ask(red, top=1)).first_frame == first.first_frame
    assert encoded(again) == 0


def test_a_video_that_changed_is_made_again_and_what_was_kept_of_it_goes(memory, tmp_path, videos):
    path = tmp_path / "film.mp4"
    shutil.copy(videos / "garden.mp4", path)
    write_video(path, [frame(i, 60) for i in range(10)])
    first = memory.add(path)
    write_video(path, [frame(i, 60) for i in range(20)])
    second = memory.add(path)
    assert first.fingerprint != second.fingerprint
    assert [v.num_frames for v in memory.videos() if v.path == path] == [20]
    assert not memory.store.folder_of(first.fingerprint).exists()


def test_a_video_that_moved_is_found_at_its_new_place(memory, tmp_path, videos, red):
    moved = tmp_path / "elsewhere.mp4"
    shutil.copy2(videos / "office.mp4", moved)
    count = encoded(memory)
    memory.add(moved)
    assert encoded(memory) == count
    assert len(memory.videos()) == 3
    assert seen(memory.ask(red, top=1)) == [("elsewhere", 15, 21)]
    (memory.store.folder / "catalogue.sqlite").unlink()
    assert moved in [v.path for v in Store(memory.store.folder).videos()]


def test_without_its_file_a_video_is_left_out_and_that_is_said(
    memory, make, tmp_path, videos, red, caplog
):
    copied = tmp_path / "copied.mp4"
    shutil.copy2(videos / "office.mp4", copied)
    memory.add(copied)
    copied.unlink()
    with caplog.at_level(logging.WARNING):
        assert seen(memory.ask(red, top=1)) == [("kitchen", 15, 21)]
    assert "copied.mp4 is missing" in caplog.text
    assert [reason for _, reason in memory.store.check()] == [
        f"{copied} is not there any more: it is found, but not shown; if it was moved, remember "
        "it at its new place"
    ]


def test_the_catalogue_is_made_anew_from_the_folders(memory, red):
    list(memory.ask(red))
    store = memory.store
    videos, answers = store.videos(), store.catalogue.answers()
    assert len(answers) == 1
    (store.folder / "catalogue.sqlite").unlink()
    again = Store(store.folder)
    assert [replace(v, added_at=None) for v in again.videos()] == [
        replace(v, added_at=None) for v in videos
    ]
    assert [(a.name, a.videos) for a in again.catalogue.answers()] == [
        (a.name, a.videos) for a in answers
    ]


def test_a_damaged_catalogue_is_one_sentence(memory):
    (memory.store.folder / "catalogue.sqlite").write_bytes(b"nonsense" * 100)
    with pytest.raises(DataError, match="remove it: it is made anew"):
        Store(memory.store.folder)


def test_another_model_is_refused_with_what_to_do(memory, make):
    other = replace(CONFIG, tokens=replace(CONFIG.tokens, frame_stride=2))
    with pytest.raises(
        ConfigError, match=r"another model \(preset tiny\): ask it with that preset"
    ):
        make(other)
    make(replace(CONFIG, search=replace(CONFIG.search, top_k=3)))  # does not touch the vectors


def test_a_folder_with_other_things_is_no_memory(make, tmp_path):
    (tmp_path / "memory").mkdir()
    (tmp_path / "memory/letter.txt").write_text("dear")
    with pytest.raises(ConfigError, match="holds other things and is no memory"):
        make()
    with pytest.raises(DataError, match="there is no memory in"):
        Store(tmp_path / "memory")


def test_only_its_owner_can_read_a_memory(memory):
    folders = [memory.store.folder, *(p for p in memory.store.folder.rglob("*") if p.is_dir())]
    open_to = {stat.S_IMODE(p.stat().st_mode) & 0o077 for p in folders if p.parent.name != "making"}
    assert stat.S_IMODE(memory.store.folder.stat().st_mode) == 0o700
    assert open_to == {0}


def test_what_is_removed_leaves_nothing(memory, red):
    list(memory.ask(red))
    office = next(v for v in memory.videos() if v.path.stem == "office")
    memory.store.remove([office.fingerprint])
    left = [p for p in memory.store.folder.rglob("*") if office.fingerprint in p.name]
    assert [p.suffix for p in left] in ([], [".lock"])
    assert list(memory.store.answers.iterdir()) == []
    assert office.fingerprint not in "".join(
        sqlite3.connect(memory.store.folder / "catalogue.sqlite").iterdump()
    )
    assert seen(memory.ask(red, top=1)) == [("kitchen", 15, 21)]


def test_old_recordings_are_forgotten_and_not_taken_in(memory, make, videos, red):
    list(memory.ask(red))
    store = memory.store
    store.configure(replace(store.settings, forget_after_s=86400.0))
    now = RECORDED["office"] + timedelta(hours=20)
    assert [v.path.stem for v in store.forget(now)] == ["kitchen"]
    assert {v.path.stem for v in Store(store.folder).videos()} == {"office", "garden"}
    assert list(store.answers.iterdir()) == []
    assert make().add(videos / "kitchen.mp4") is None  # by today's date


def test_nothing_is_forgotten_unless_that_is_asked_for(memory):
    assert memory.store.forget(datetime(2050, 1, 1, tzinfo=timezone.utc)) == []


def test_a_video_that_another_process_is_making_is_left_to_it(make, videos):
    memory, other = make(), make()
    fingerprint = other.add(videos / "garden.mp4").fingerprint
    other.store.remove([fingerprint])
    with memory.store.making_of(fingerprint, wait=False) as is_mine:
        assert is_mine
        assert other.add(videos / "garden.mp4", wait=False) is None
    assert other.add(videos / "garden.mp4", wait=False) is not None


def test_two_memories_of_the_same_videos_have_the_same_bytes(memory, make, videos):
    other = make(folder="other")
    for name in reversed(RECORDED):
        other.add(videos / f"{name}.mp4")
    for video in memory.videos():
        one, two = (m.store.folder_of(video.fingerprint) for m in (memory, other))
        for path in one.iterdir():
            assert path.read_bytes() == (two / path.name).read_bytes(), path.name


def test_a_full_disk_leaves_the_memory_as_it_was(memory, tmp_path, monkeypatch, red):
    path = write_video(tmp_path / "more.mp4", [frame(i, 50) for i in range(FRAMES)])
    before = seen(memory.ask(red))

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("vq2d.memory.kept.save_file", full)
    with pytest.raises(OSError, match="No space"):
        memory.add(path)
    monkeypatch.undo()
    assert not [p for p in (memory.store.folder / "videos").iterdir() if p.name.startswith(".")]
    assert seen(memory.ask(red)) == before
    count = encoded(memory)
    assert memory.add(path) is not None
    assert encoded(memory) == count  # its tokens were kept


@pytest.mark.parametrize("name", ["vectors.faiss", "sights.safetensors", "video.json"])
def test_damage_is_found_and_said(memory, name):
    folder = memory.store.folder_of(memory.videos()[0].fingerprint)
    whole = (folder / name).read_bytes()
    (folder / name).write_bytes(whole[: len(whole) // 2])
    problems = Store(memory.store.folder).check()
    assert len(problems) == 1
    assert "remember" in problems[0][1]


def test_json_and_folder_agree(memory):
    video = memory.videos()[0]
    folder = memory.store.folder_of(video.fingerprint)
    raw = json.loads((folder / "video.json").read_text())
    assert raw["vectors"] == video.vectors > 0
    assert video.bytes == sum(p.stat().st_size for p in folder.iterdir() if p.name != "video.json")
    assert raw["path"] == str(video.path)
