"""Videos over HTTP: exact stills, parts of files, copies for browsers, wrong ids."""

from __future__ import annotations

import time

import av
import cv2
import numpy as np
import pytest

from tests.clips import frame
from tests.job import tiny_localizer
from tests.synthetic import frame_number, numbered_frame, write_video
from tests.vq2d.memory.conftest import CONFIG
from tests.vq2d.web.conftest import client_of
from vq2d.memory.memory import Memory, open_store


def decoded(reply):
    assert reply.status_code == 200, reply.text
    assert reply.headers["content-type"] == "image/jpeg"
    return cv2.imdecode(np.frombuffer(reply.content, np.uint8), 1)[..., ::-1]


@pytest.fixture
def served(tmp_path):
    """Serves the page of a memory of one video, which is given by its file."""
    clients = []

    def call(path):
        localizer = tiny_localizer(CONFIG)
        memory = Memory(open_store(tmp_path / "memory", localizer, "tiny"), localizer)
        video = memory.add(path)
        client = client_of(memory).__enter__()
        clients.append(client)
        return client, f"/api/videos/{video.fingerprint}", memory

    yield call
    for client in clients:
        client.__exit__(None, None, None)


def test_videos_are_listed_without_paths(client, videos):
    listed = client.get("/api/videos").json()
    assert [video["name"] for video in listed] == ["garden.mp4", "office.mp4", "kitchen.mp4"]
    assert listed[1]["duration_s"] == 6.0
    assert (listed[1]["width"], listed[1]["height"], listed[1]["num_frames"]) == (96, 64, 30)
    assert listed[1]["is_there"]
    assert str(videos) not in client.get("/api/videos").text


@pytest.mark.parametrize("fps", [5, 30])
def test_a_still_is_exactly_the_frame_that_was_asked_for(served, tmp_path, fps):
    images = map(numbered_frame, range(25 * fps // 5))
    path = write_video(tmp_path / "numbered.mp4", images, fps)
    client, url, _ = served(path)
    for i in (0, 7, 24, 3, 8):
        assert frame_number(decoded(client.get(f"{url}/still.jpg?frame={i}"))) == i * fps // 5
    into = client.get(url).json()["seconds_into_frame"]
    assert into == pytest.approx(0.5 / fps)


@pytest.mark.parametrize("number", ["30", "-1", "x", "1e1", "", "٣", "9999999999999"])
def test_there_are_no_other_frames(client, ids, number):
    reply = client.get(f"/api/videos/{ids['office']}/still.jpg", params={"frame": number})
    assert reply.status_code in (404, 422)
    assert reply.json()["error"]


def test_a_thumbnail_is_small_and_made_once(client, ids, memory):
    url = f"/api/videos/{ids['garden']}/thumbnail.jpg"
    picture = decoded(client.get(url))
    assert np.abs(picture.astype(int) - frame(29, 100)).mean() < 6
    kept = memory.store.folder_of(ids["garden"]) / "thumbnail.jpg"
    assert kept.read_bytes() == client.get(url).content
    memory.store.remove([ids["garden"]])
    assert client.get(url).status_code == 404


def test_parts_of_a_file_are_served(client, ids, videos):
    url, data = f"/api/videos/{ids['office']}/file", (videos / "office.mp4").read_bytes()
    whole = client.get(url)
    assert whole.status_code == 200
    assert whole.content == data
    assert whole.headers["content-type"] == "video/mp4"
    part = client.get(url, headers={"range": "bytes=10-19"})
    assert part.status_code == 206
    assert part.content == data[10:20]
    assert part.headers["content-range"] == f"bytes 10-19/{len(data)}"
    assert client.get(url, headers={"range": f"bytes={len(data)}-"}).status_code == 416


@pytest.mark.parametrize("name", ["nothing", "..", "%2e%2e%2fmemory.json", "a" * 300])
def test_wrong_ids_are_refused(client, name):
    for end in ("", "/file", "/thumbnail.jpg", "/still.jpg?frame=0"):
        reply = client.get(f"/api/videos/{name}{end}")
        assert reply.status_code == 404
        assert reply.json()["error"]


def test_what_browsers_cannot_play_is_copied_once(served, tmp_path):
    path = write_video(tmp_path / "old.avi", map(numbered_frame, range(25)), codec="mpeg4")
    client, url, memory = served(path)
    for _ in range(200):
        reply = client.get(f"{url}/file")
        if reply.status_code != 503:
            break
        assert reply.headers["retry-after"] == "2"
        time.sleep(0.05)
    assert reply.status_code == 200
    assert reply.headers["content-type"] == "video/webm"
    copy = tmp_path / "copy.webm"
    copy.write_bytes(reply.content)
    with av.open(str(copy)) as container:
        shown = [f.to_ndarray(format="rgb24") for f in container.decode(video=0)]
        assert container.streams.video[0].codec_context.name == "vp9"
    assert [frame_number(image) for image in shown] == list(range(25))
    assert client.get(url).json()["file"] == "ready"
    assert client.get(url).json()["seconds_into_frame"] == 0.1
    assert [p.name for p in memory.store.making.glob("*.partial")] == []
    memory.store.sync()
    assert len(memory.videos()) == 1


def test_a_file_that_is_gone_or_another_one_is_said_so(served, tmp_path):
    path = write_video(tmp_path / "numbered.mp4", map(numbered_frame, range(10)))
    client, url, _ = served(path)
    decoded(client.get(f"{url}/still.jpg?frame=3"))
    write_video(path, map(numbered_frame, range(5, 18)))
    reply = client.get(f"{url}/still.jpg?frame=3")
    assert reply.status_code == 404
    assert reply.json()["error"].startswith("numbered.mp4 has changed since it was remembered")
    path.unlink()
    reply = client.get(f"{url}/file")
    assert reply.status_code == 404
    assert reply.json()["error"].startswith("numbered.mp4 is not there any more")
    assert client.get(url).json()["file"] == "missing"
    assert not client.get("/api/videos").json()[0]["is_there"]
