"""The commands of a memory: what they do, say and refuse; tiny models in place of trained ones."""

from __future__ import annotations

import json
import shutil
import xml.etree.ElementTree as ET
from dataclasses import replace
from datetime import datetime, timezone

import cv2
import numpy as np
import pytest
from pycocotools.coco import COCO

from ren_core.engine.choice import Compute
from tests.clips import FRAMES, RED, frame, place
from tests.job import CONFIG, tiny_localizer
from tests.synthetic import write_video
from vq2d.commands import ask, memory, remember, shared
from vq2d.memory.store import Store

SEARCH = replace(CONFIG, search=replace(CONFIG.search, keep_ratio=0.85))


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    write_video(folder / "kitchen.mp4", [frame(i) for i in range(FRAMES)])
    (folder / "2026").mkdir()
    write_video(folder / "2026/office.MP4", [frame(i, 110) for i in range(FRAMES)])
    (folder / "notes.txt").write_text("no video")
    return folder


@pytest.fixture
def tiny(monkeypatch):
    """Tiny models, whatever the options ask for."""

    def build(config, _):
        return tiny_localizer(config)

    for command in (shared, remember):
        monkeypatch.setattr(command, "chosen_config", lambda _: ("tiny", SEARCH, Compute()))
        monkeypatch.setattr(command, "build_localizer", build)


@pytest.fixture(scope="module")
def remembered(videos, tmp_path_factory):
    """A memory of both videos, to be copied."""
    folder = tmp_path_factory.mktemp("remembered") / "memory"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(remember, "chosen_config", lambda _: ("tiny", SEARCH, Compute()))
        patch.setattr(remember, "build_localizer", lambda config, _: tiny_localizer(config))
        assert remember.main([str(videos), "--memory", str(folder)]) == 0
    return folder


@pytest.fixture
def folder(tiny, remembered, tmp_path):
    shutil.copytree(remembered, tmp_path / "memory")
    return str(tmp_path / "memory")


def box_text(i):
    x1, y1, x2, y2 = place(RED, i)
    return f"{x1},{y1},{x2 - x1},{y2 - y1}"


def red_picture(tmp_path):
    path = tmp_path / "red.png"
    cv2.imwrite(str(path), np.full((40, 40, 3), RED, np.uint8)[..., ::-1])
    return str(path)


def test_a_folder_is_remembered_once_and_a_bad_file_is_named(folder, videos, tmp_path, capsys):
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"not a video")
    assert remember.main([str(videos), str(broken), "--memory", folder]) == 1
    out = capsys.readouterr().out
    assert "known       " in out
    assert "remembered  " not in out
    assert f"failed      {broken} cannot be read as video" in out
    assert "2 videos, 0.00 h" in out
    assert memory.main(["list", "--memory", folder]) == 0
    assert f"failed      {broken}" in capsys.readouterr().out
    write_video(broken, [frame(i, 70) for i in range(5)])
    assert remember.main([str(broken), "--memory", folder]) == 0
    assert "remembered  " in capsys.readouterr().out
    assert Store(tmp_path / "memory").catalogue.failures() == {}


def test_asking_by_a_picture_says_when_where_and_in_which_video(folder, tmp_path, capsys):
    target = tmp_path / "answers.json"
    query = ["--query", red_picture(tmp_path), "--top", "2", "--json", str(target)]
    assert ask.main(["--memory", folder, *query]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("last seen   20")
    assert "office.MP4, 0:03.0 to 0:04.0, score" in lines[0]
    assert lines[1].startswith("before      20")
    found = json.loads(target.read_text())
    assert [(s["first_frame"], len(s["boxes_xyxy"])) for s in found] == [(15, 6), (3, 5)]
    assert found[0]["start_s"] == 3.0
    assert found[0]["believed"] is True
    assert found[0]["present"] is None  # this configuration does not say


@pytest.mark.parametrize("name", ["kitchen.mp4", "path"])
def test_asking_by_a_moment_of_a_remembered_video(folder, videos, name, capsys):
    video = str(videos / "kitchen.mp4") if name == "path" else name
    moment = ["--video", video, "--at", "0.8", "--box", box_text(4)]
    assert ask.main(["--memory", folder, *moment]) == 0
    out = capsys.readouterr().out
    assert "kitchen.mp4, 0:00.6" not in out  # where the picture was taken
    assert "kitchen.mp4, 0:03.0 to 0:04.0" in out
    assert "office.MP4, 0:03.0 to 0:04.0" in out


def test_only_what_was_recorded_before_is_asked(folder, tmp_path, capsys):
    query = ["--query", red_picture(tmp_path)]
    assert ask.main(["--memory", folder, *query, "--before", "2001-01-01"]) == 1
    assert "not found" in capsys.readouterr().out
    assert ask.main(["--memory", folder, *query, "--before", "soon"]) == 2
    assert "--before needs a time such as 2026-11-20T18:00, got 'soon'" in capsys.readouterr().err


def test_pictures_and_exports_are_written(folder, tmp_path, capsys):
    out = tmp_path / "out"
    query = ["--query", red_picture(tmp_path), "--top", "1", "--label", "mug"]
    exports = ["--export", "coco", "cvat", "mot", "--out", str(out)]
    assert ask.main(["--memory", folder, *query, *exports]) == 0
    assert "sighting1.mp4" in (out / "index.html").read_text()
    poster = cv2.imread(str(out / "sighting1.jpg"))
    assert poster is not None
    coco = COCO(str(out / "coco/instances.json"))
    assert len(coco.anns) == 6
    assert coco.annToMask(coco.anns[1]).sum() == pytest.approx(16 * 16, rel=0.15)
    boxes = ET.parse(out / "cvat/office.xml").getroot().findall("track/box")
    assert [int(box.get("frame")) for box in boxes[:2]] == [15, 16]
    assert "mot         " in capsys.readouterr().out


def test_listing_checking_and_removing(folder, tmp_path, capsys):
    assert memory.main(["list", "--memory", folder, "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert sorted(video["path"].rsplit("/", 1)[1] for video in listed) == [
        "kitchen.mp4",
        "office.MP4",
    ]
    assert memory.main(["check", "--memory", folder]) == 0
    assert "2 videos, 0 problems" in capsys.readouterr().out
    assert memory.main(["remove", "--memory", folder, "kitchen.mp4"]) == 0
    assert memory.main(["remove", "--memory", folder, "kitchen.mp4"]) == 2
    assert "the memory holds no video called 'kitchen.mp4'" in capsys.readouterr().err
    (video,) = Store(tmp_path / "memory").videos()
    (Store(tmp_path / "memory").folder_of(video.fingerprint) / "vectors.faiss").write_bytes(b"")
    assert memory.main(["check", "--memory", folder]) == 1


def test_the_time_to_forget_is_kept_and_obeyed(folder, videos, tmp_path, capsys):
    store = Store(tmp_path / "memory")
    old = replace(store.videos()[0], recorded_at=datetime(2020, 1, 1, tzinfo=timezone.utc))
    store.catalogue.put([old])
    assert remember.main([str(videos), "--memory", folder, "--forget-after", "30d"]) == 0
    assert f"forgotten   {old.path}, recorded 2020-01-01" in capsys.readouterr().out
    assert Store(tmp_path / "memory").settings.forget_after_s == 30 * 86400
    assert remember.main([str(videos), "--memory", folder, "--forget-after", "never"]) == 0
    assert Store(tmp_path / "memory").settings.forget_after_s is None
    assert remember.main([str(videos), "--memory", folder, "--forget-after", "soon"]) == 2
    assert "such as 30d, or never; got 'soon'" in capsys.readouterr().err


def test_what_cannot_be_remembered_is_refused(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    places = ["--memory", str(tmp_path / "m")]
    assert remember.main([str(tmp_path / "empty"), *places]) == 2
    assert "holds no video" in capsys.readouterr().err
    assert remember.main([str(tmp_path / "nowhere"), *places]) == 2
    assert "does not exist" in capsys.readouterr().err
    assert ask.main([*places, "--query", "x.png"]) == 1
    assert "there is no memory in" in capsys.readouterr().err


def test_the_files_of_the_memory_itself_are_no_videos(tmp_path):
    write_video(tmp_path / "a.mp4", [frame(0)] * 2)
    (tmp_path / "memory").mkdir()
    shutil.copy(tmp_path / "a.mp4", tmp_path / "memory/proxy.mp4")
    found = remember.find_videos([tmp_path], tmp_path / "memory")
    assert [path.name for path in found] == ["a.mp4"]
