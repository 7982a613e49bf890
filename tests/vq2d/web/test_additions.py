"""Videos added over HTTP: the same as `vq2d remember`, questions go first, bounds hold."""

from __future__ import annotations

import threading
import time

import pytest

from tests.synthetic import numbered_frame, write_video
from tests.vq2d.web.asking import box_question, events, put
from tests.vq2d.web.conftest import client_of
from vq2d.web import additions, desk, guard, uploads


@pytest.fixture
def shelf(tmp_path):
    """A folder of the operator: two videos of six seconds and something else."""
    folder = tmp_path / "shelf"
    (folder / "deep").mkdir(parents=True)
    write_video(folder / "hall.mp4", map(numbered_frame, range(30)))
    write_video(folder / "deep" / "attic.mp4", map(numbered_frame, range(40, 70)))
    (folder / "notes.txt").write_text("no video")
    return folder


@pytest.fixture
def client(memory, shelf):
    with client_of(memory, videos=[shelf]) as client:
        yield client


@pytest.fixture
def held(monkeypatch):
    """A video is held before its first batch until this is set; tells when it is there."""
    go, there = threading.Event(), threading.Event()
    remember = additions._remember

    def wait(memory, addition, between):
        def between_held():
            there.set()
            while not go.wait(0.02):
                between()
                if addition.is_cancelled.is_set():
                    return
            between()

        remember(memory, addition, between_held)

    monkeypatch.setattr(additions, "_remember", wait)
    go.there = there
    yield go
    go.set()


def chosen(client, name="hall.mp4"):
    files = {file["name"]: file["id"] for file in client.get("/api/files").json()}
    reply = client.post("/api/additions", json={"file": files[name]})
    assert reply.status_code == 202, reply.text
    return reply.json()["id"]


def sent(client, data, name="hall.mp4", **options):
    return client.post("/api/uploads", params={"name": name, **options}, content=data)


def until(client, name, *states):
    for _ in range(400):
        (found,) = [one for one in client.get("/api/additions").json() if one["id"] == name]
        if found["state"] in states:
            return found
        time.sleep(0.02)
    raise AssertionError(f"still {found}")


def uploaded(memory):
    folder = memory.store.making / "uploads"
    return [path for path in folder.rglob("*") if path.is_file()]


def test_files_of_the_operator_are_listed_without_paths(client, shelf):
    listed = client.get("/api/files").json()
    assert [(one["name"], one["folder"], one["is_known"]) for one in listed] == [
        ("attic.mp4", "deep", False),
        ("hall.mp4", "shelf", False),
    ]
    assert listed[1]["bytes"] == (shelf / "hall.mp4").stat().st_size
    assert str(shelf.parent) not in client.get("/api/files").text


def test_a_file_of_the_operator_is_remembered_where_it_lies(client, memory, shelf):
    done = until(client, chosen(client), "done", "failed")
    assert done["error"] is None
    assert (done["frames_done"], done["num_frames"]) == (30, 30)
    video = next(v for v in memory.videos() if v.fingerprint == done["video"])
    assert video.path == shelf / "hall.mp4"
    assert [one["is_known"] for one in client.get("/api/files").json()] == [False, True]
    assert client.get(f"/api/videos/{done['video']}/still.jpg?frame=7").status_code == 200


def test_a_video_that_is_sent_is_kept_in_its_folder_and_goes_with_it(client, memory, shelf):
    data = (shelf / "hall.mp4").read_bytes()
    reply = sent(client, data, "../my hall?.mp4", modified_ms=1_700_000_000_000)
    assert reply.status_code == 202, reply.text
    done = until(client, reply.json()["id"], "done", "failed")
    video = next(v for v in memory.videos() if v.fingerprint == done["video"])
    assert video.path == memory.store.folder_of(video.fingerprint) / "file" / "my hall_.mp4"
    assert video.path.read_bytes() == data
    assert video.recorded_at.timestamp() == 1_700_000_000
    assert memory.store.check() == []
    assert uploaded(memory) == []
    memory.store.remove([video.fingerprint])
    assert not video.path.exists()


def test_a_video_that_is_known_already_is_not_kept_twice(client, memory, videos):
    reply = sent(client, (videos / "kitchen.mp4").read_bytes(), "again.mp4")
    assert until(client, reply.json()["id"], "done", "failed")["state"] == "done"
    assert sorted(v.path.name for v in memory.videos()) == [
        "garden.mp4",
        "kitchen.mp4",
        "office.mp4",
    ]
    assert uploaded(memory) == []


def test_a_question_is_answered_while_a_video_is_being_remembered(client, ids, held):
    name = chosen(client)
    assert held.there.wait(20)
    assert events(client, put(client, box_question(ids)))[-1][0] == "done"
    assert until(client, name, "working")["frames_done"] < 30
    held.set()
    assert until(client, name, "done", "failed")["state"] == "done"
    assert len(client.get("/api/videos").json()) == 4


def test_a_video_is_cancelled_at_work_and_in_line(client, memory, shelf, held):
    at_work, data = chosen(client), (shelf / "deep" / "attic.mp4").read_bytes()
    assert held.there.wait(20)
    in_line = sent(client, data).json()["id"]
    assert until(client, in_line, "waiting")["num_frames"] == 0
    assert client.delete(f"/api/additions/{in_line}").status_code == 200
    assert uploaded(memory) == []
    assert client.delete(f"/api/additions/{at_work}").status_code == 200
    until(client, at_work, "cancelled")
    assert len(memory.videos()) == 3
    assert list(memory.store.making.glob("*/*/*.safetensors")) == []
    assert client.delete(f"/api/additions/{at_work}").status_code == 200
    assert client.get("/api/additions").json() == []
    assert client.delete(f"/api/additions/{at_work}").status_code == 404


@pytest.mark.parametrize(
    ("data", "name", "status", "message"),
    [
        (b"x", "notes.txt", 400, "notes.txt is not named like a video; it must end in one of .3gp"),
        (b"x", "..", 400, "a file without a name is not named like a video"),
        (b"", "a.mp4", 400, "the video is empty"),
        (b"x", "a" * 2000 + ".mp4", 422, "name: String should have at most 1000"),
    ],
)
def test_what_is_no_video_by_its_name_is_refused(client, memory, data, name, status, message):
    reply = sent(client, data, name)
    assert reply.status_code == status
    assert message in reply.json()["error"]
    assert uploaded(memory) == []


def test_what_is_no_video_inside_is_said_in_one_sentence(client, memory, shelf):
    failed = until(client, sent(client, b"no video" * 100).json()["id"], "done", "failed")
    assert failed["state"] == "failed"
    assert failed["error"].startswith("hall.mp4 ")
    assert str(memory.store.folder) not in failed["error"]
    assert uploaded(memory) == []
    (shelf / "hall.mp4").write_bytes(b"no video")
    assert until(client, chosen(client), "done", "failed")["state"] == "failed"
    errors = {one["name"]: one["error"] for one in client.get("/api/files").json()}
    assert errors["hall.mp4"].startswith("hall.mp4 ")
    assert errors["attic.mp4"] is None


@pytest.mark.parametrize("limit", ["MOST_PIXELS", "MOST_SECONDS"])
def test_a_video_of_too_many_pixels_or_hours_is_refused(client, monkeypatch, limit):
    monkeypatch.setattr(additions, limit, 1)
    failed = until(client, chosen(client), "done", "failed")
    assert failed["error"].startswith("hall.mp4 ")
    assert "first" in failed["error"]


def test_bytes_are_bounded_by_request_and_by_disk(client, memory, monkeypatch):
    monkeypatch.setattr(guard, "MOST_BYTES", 10)
    assert sent(client, b"x" * 100).status_code == 202
    monkeypatch.setattr(guard, "MOST_VIDEO_BYTES", 1000)
    for data in (b"x" * 2000, (b"x" * 300 for _ in range(5))):
        reply = sent(client, data)
        assert reply.status_code == 413
        assert "can be sent at once" in reply.json()["error"]
    monkeypatch.setattr(uploads, "LEAST_FREE_BYTES", 1 << 62)
    reply = sent(client, b"x")
    assert reply.status_code == 400
    assert "GB free" in reply.json()["error"]
    assert [path.name for path in uploaded(memory)] in ([], ["hall.mp4"])


def test_the_line_of_videos_is_bounded(client, held, monkeypatch):
    monkeypatch.setattr(desk, "MOST_VIDEOS_WAITING", 1)
    chosen(client)
    assert held.there.wait(20)
    for reply in (
        client.post("/api/additions", json={"file": client.get("/api/files").json()[0]["id"]}),
        sent(client, b"x"),
    ):
        assert reply.status_code == 429
        assert int(reply.headers["retry-after"]) > 0
        assert "waiting" in reply.json()["error"] or "wait already" in reply.json()["error"]


def test_only_listed_files_are_taken(client, shelf):
    (shelf.parent / "secret.mp4").write_bytes((shelf / "hall.mp4").read_bytes())
    for file in ("../secret.mp4", str(shelf.parent / "secret.mp4"), "0" * 12):
        assert client.post("/api/additions", json={"file": file[:64]}).status_code == 404
    reply = client.post("/api/additions", json={"path": str(shelf / "hall.mp4")})
    assert reply.status_code == 422


def test_what_was_sent_goes_on_when_the_page_is_served_again(memory, shelf, held):
    data = (shelf / "hall.mp4").read_bytes()
    with client_of(memory) as client:
        sent(client, data)
        assert held.there.wait(20)
    folder = memory.store.making / "uploads" / "broken"
    folder.mkdir()
    (folder / "half.mp4.partial").write_bytes(data[:100])
    assert len(memory.videos()) == 3
    held.set()
    with client_of(memory) as client:
        (found,) = client.get("/api/additions").json()
        until(client, found["id"], "done")
    assert len(memory.videos()) == 4
    assert uploaded(memory) == []
    assert not folder.exists()


def test_two_servers_of_a_memory_leave_each_other_what_was_sent(memory, shelf, held, copy_of):
    with client_of(memory) as first:
        sent(first, (shelf / "hall.mp4").read_bytes())
        assert held.there.wait(20)
        with client_of(memory) as second:
            assert second.get("/api/additions").json() == []
        held.set()
        (found,) = first.get("/api/additions").json()
        until(first, found["id"], "done")


def test_the_time_left_is_that_of_the_last_steps():
    addition = additions.Addition(None, num_frames=100)
    assert addition.seconds_left is None
    addition.turn("working")
    for at, count in ((0.0, 0), (1.0, 10), (2.0, 10)):
        addition.step(at, count)
    assert addition.seconds_left == pytest.approx(8.0)
    for at in range(3, 3 + additions.STEPS_TIMED):
        addition.step(float(at), 1)
    assert addition.seconds_left == pytest.approx(80.0 - additions.STEPS_TIMED)
