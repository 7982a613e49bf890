"""Questions and answers over HTTP: the same as asking the memory, one at a time."""

from __future__ import annotations

import threading

import cv2
import numpy as np
import pytest

from tests.clips import RED, place
from tests.vq2d.web.asking import box_question, events, put, put_pictures, red_png
from tests.vq2d.web.conftest import client_of
from vq2d.memory import answers
from vq2d.memory.ask import MemoryQuestion
from vq2d.types import ObjectView
from vq2d.video.frames import open_video
from vq2d.web import desk, guard, questions


def test_events_come_in_order_and_the_moment_before_the_track(client, ids):
    found = events(client, put(client, box_question(ids)))
    kinds = [kind for kind, _ in found]
    assert kinds[:4] == ["queued", "searching", "moment", "sighting"]
    assert kinds[-1] == "done"
    moment, sighting = found[2][1], found[3][1]
    assert moment["video"] == sighting["video"]
    assert sighting["first_frame"] <= moment["frame"] < sighting["end_frame"]
    seen = np.array(moment["box_xyxy"])
    tracked = np.array(sighting["boxes_xyxy"][moment["frame"] - sighting["first_frame"]])
    assert np.abs(seen - tracked).max() <= 1.5


def test_the_answer_is_that_of_the_memory(client, ids, copy_of):
    *_, (_, done) = events(client, put(client, box_question(ids)))
    answer = client.get(f"/api/answers/{done['answer']}").json()
    other = copy_of("other")
    video = next(v for v in other.videos() if v.path.stem == "kitchen")
    view = ObjectView(open_video(video.path)[4], place(RED, 4))
    expected = list(other.ask(MemoryQuestion((view,), (video.fingerprint, 4))))
    assert len(answer["sightings"]) == len(expected) > 1
    for shown, sighting in zip(answer["sightings"], expected, strict=True):
        assert shown["boxes_xyxy"] == sighting.boxes_xyxy.astype(float).tolist()
        assert shown["video"]["id"] == sighting.video.fingerprint
        assert (shown["first_frame"], shown["score"]) == (sighting.first_frame, sighting.score)
        assert (shown["start_s"], shown["believed"]) == (sighting.start_s, sighting.believed)
        assert shown["present"] == sighting.present
        assert shown["last_seen_at"] == sighting.last_seen_at.isoformat()
        assert shown["curve"]["frames"] == sighting.found.scores.frame_idx.tolist()


def test_an_answer_is_found_by_the_id_of_its_question_and_kept_for_later(client, ids):
    name = put(client, box_question(ids))
    *_, (_, done) = events(client, name)
    assert client.get(f"/api/answers/{name}").json()["id"] == done["answer"]
    (listed,) = client.get("/api/answers").json()
    assert listed["id"] == done["answer"]
    assert listed["asked"]["name"] == "kitchen.mp4"
    assert listed["asked"]["frame"] == 4
    assert listed["last"]["name"] == "office.mp4"
    picture = client.get(f"/api/answers/{done['answer']}/picture.jpg")
    crop = cv2.imdecode(np.frombuffer(picture.content, np.uint8), 1)[..., ::-1]
    assert np.abs(crop[2:-2, 2:-2].mean((0, 1)) - RED).max() < 25


def test_the_same_question_again_is_answered_from_disk(client, ids):
    first = events(client, put(client, box_question(ids)))
    again = events(client, put(client, box_question(ids)))
    assert [kind for kind, _ in again if kind == "moment"] == []
    assert again[-1] == first[-1]
    assert len(client.get("/api/answers").json()) == 1


def test_a_removed_video_takes_its_answers_and_their_pictures_along(client, ids, memory):
    *_, (_, done) = events(client, put(client, box_question(ids)))
    memory.store.remove([ids["kitchen"]])
    assert client.get("/api/answers").json() == []
    assert client.get(f"/api/answers/{done['answer']}").status_code == 404
    assert list(memory.store.answers.iterdir()) == []


def test_pictures_are_asked_about(client):
    reply = put_pictures(client, red_png())
    assert reply.status_code == 202
    found = events(client, reply.json()["id"])
    names = [data["video"]["name"] for kind, data in found if kind == "sighting"]
    assert names == ["office.mp4", "office.mp4", "kitchen.mp4", "kitchen.mp4"]
    assert client.get("/api/answers").json()[0]["asked"] == {"pictures": 1}


@pytest.mark.parametrize(
    ("boxes", "status", "message"),
    [
        ("[[500, 5, 600, 9]]", 400, "the box 500,5,100,4 lies outside picture-1, which is 40"),
        ("[[9, 9, 5, 5]]", 400, "the box needs a positive width and height"),
        ("[[1, 2, 3]]", 422, "boxes: "),
        ("[[1, 2, NaN, 4]]", 400, "the box needs four numbers"),
        ("{", 422, "boxes: Invalid JSON"),
        ("[null, null]", 422, "boxes: 2 for 1 pictures"),
    ],
)
def test_boxes_on_pictures_that_are_none_are_refused(client, boxes, status, message):
    reply = put_pictures(client, red_png(), boxes=boxes)
    assert reply.status_code == status
    assert message in reply.json()["error"]


def test_a_question_asked_before_and_after_a_change_of_code_is_listed_once(
    client, ids, monkeypatch
):
    for code in ("older", "newer"):
        monkeypatch.setattr(answers, "code_digest", lambda _, code=code: code)
        for question in (box_question(ids), box_question(ids, frame=5)):
            *_, (_, done) = events(client, put(client, question))
        *_, (_, photo) = events(client, put_pictures(client, red_png()).json()["id"])
    listed = client.get("/api/answers").json()
    assert len({one["question"] for one in listed}) == len(listed) == 3
    assert {done["answer"], photo["answer"]} < {one["id"] for one in listed}


def test_events_go_on_after_the_last_one_that_was_read(client, ids):
    name = put(client, box_question(ids))
    everything = events(client, name)
    assert events(client, name, **{"last-event-id": "1"}) == everything[2:]


def test_nothing_found_is_said(client, ids, monkeypatch):
    monkeypatch.setattr(desk.Desk, "_search", lambda _, asked: asked.tell("done", answer="x"))
    found = events(client, put(client, box_question(ids)))
    assert [kind for kind, _ in found] == ["queued", "done"]


@pytest.mark.parametrize(
    ("change", "status", "message"),
    [
        ({"video": "no"}, 404, "no such video"),
        ({"video": "../../etc"}, 404, "no such video"),
        ({"frame": 30}, 400, "frame 30 lies outside the video, which has 30 frames"),
        ({"frame": -1}, 422, "frame: Input should be greater"),
        ({"frame": "x"}, 422, "frame: Input should be a valid integer"),
        ({"box_xyxy": [5, 5, 5, 9]}, 400, "too small or lies outside"),
        ({"box_xyxy": [500, 5, 600, 9]}, 400, "96 pixels wide and 64 high"),
        ({"box_xyxy": [1, 2, 3]}, 422, "box_xyxy"),
        ({"path": "/etc/passwd"}, 422, "path: Extra inputs"),
    ],
)
def test_what_is_no_question_is_refused_in_one_sentence(client, ids, change, status, message):
    reply = client.post("/api/questions", json={**box_question(ids), **change})
    assert reply.status_code == status
    assert message in reply.json()["error"]


def test_numbers_that_are_none_and_other_kinds_of_content_are_refused(client, ids):
    kind = {"content-type": "application/json"}
    body = f'{{"video": "{ids["kitchen"]}", "frame": 4, "box_xyxy": [1, 2, NaN, 9]}}'
    reply = client.post("/api/questions", content=body, headers=kind)
    assert reply.status_code in (400, 422)
    assert client.post("/api/questions", content="{", headers=kind).status_code == 422
    assert client.post("/api/questions", content="x").status_code == 415


def test_pictures_that_cannot_be_read_are_named_without_a_path(client, monkeypatch):
    reply = put_pictures(client, red_png(), b"no picture")
    assert reply.status_code == 400
    assert reply.json()["error"].startswith("picture-2 is no picture")
    assert put_pictures(client, *[red_png()] * 5).status_code == 400
    assert client.post("/api/questions", files={}, data={"a": "b"}).status_code == 415
    monkeypatch.setattr(questions, "MOST_PICTURE_BYTES", 10)
    assert "picture 1 is larger than" in put_pictures(client, red_png()).json()["error"]


def test_a_long_question_in_json_is_not_read(client, ids):
    reply = client.post("/api/questions", json={**box_question(ids), "more": "x" * 20_000})
    assert reply.status_code == 413


def test_a_body_that_is_too_large_is_refused_with_and_without_its_length(client, monkeypatch):
    monkeypatch.setattr(guard, "MOST_BYTES", 1000)
    assert put_pictures(client, b"x" * 2000).status_code == 413
    parts = (b"x" * 300 for _ in range(5))
    kind = {"content-type": "multipart/form-data; boundary=b"}
    reply = client.post("/api/questions", content=parts, headers=kind)
    assert reply.status_code == 413


@pytest.fixture
def held(monkeypatch):
    """Questions wait at the worker until this is set."""
    go, search = threading.Event(), desk.Desk._search

    def wait(self, asked):
        asked.tell("searching")
        assert go.wait(20)
        search(self, asked)

    monkeypatch.setattr(desk.Desk, "_search", wait)
    yield go
    go.set()


def until_taken(client):
    worker = client.app.state.desk
    for _ in range(200):
        if not worker._waiting:
            return
        threading.Event().wait(0.02)
    raise AssertionError("the worker took no question")


def test_a_full_line_is_said_so_and_goes_on_later(client, ids, held):
    names = [put(client, box_question(ids))]
    until_taken(client)
    names += [put(client, box_question(ids)) for _ in range(desk.MOST_WAITING)]
    reply = client.post("/api/questions", json=box_question(ids))
    assert reply.status_code == 429
    assert reply.headers["retry-after"] == "10"
    assert "waiting already" in reply.json()["error"]
    held.set()
    assert all(events(client, name)[-1][0] == "done" for name in names)


def test_a_question_is_cancelled_in_line_and_at_work(client, ids, held):
    at_work = put(client, box_question(ids))
    until_taken(client)
    in_line = put(client, box_question(ids))
    assert client.delete(f"/api/questions/{in_line}").json() == {"cancelled": True}
    assert client.delete(f"/api/questions/{at_work}").json() == {"cancelled": True}
    assert [kind for kind, _ in events(client, in_line)] == ["queued", "cancelled"]
    assert events(client, at_work)[-1][0] == "cancelled"
    assert client.get(f"/api/answers/{at_work}").status_code == 404
    held.set()
    after = put(client, box_question(ids))
    assert events(client, after)[-1][0] == "done"
    assert client.delete(f"/api/questions/{after}").json() == {"cancelled": False}


def test_a_fault_ends_the_question_in_one_sentence_and_not_the_worker(client, ids, monkeypatch):
    with monkeypatch.context() as patch:

        def fail(*_, **__):
            raise ZeroDivisionError("/secret/path")

        patch.setattr(client.app.state.desk.memory, "ask", fail)
        (kind, data) = events(client, put(client, box_question(ids)))[-1]
    assert kind == "failed"
    assert data["error"].startswith("something unexpected went wrong")
    assert events(client, put(client, box_question(ids)))[-1][0] == "done"


def test_unknown_questions_and_answers(client):
    for path in ("questions/nothing/events", "answers/nothing", "answers/..%2Fmemory"):
        reply = client.get(f"/api/{path}")
        assert reply.status_code == 404
        assert reply.json()["error"]
    assert client.delete("/api/questions/nothing").status_code == 404


def test_an_answer_is_still_there_when_the_page_is_served_again(memory, ids):
    with client_of(memory) as client:
        *_, (_, done) = events(client, put(client, box_question(ids)))
    with client_of(memory) as client:
        assert client.get(f"/api/answers/{done['answer']}").status_code == 200
