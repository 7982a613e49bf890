"""What the tests of the page do as a browser would."""

from __future__ import annotations

import json

import cv2
import numpy as np

from tests.clips import RED, place


def box_question(ids, name="kitchen", frame=4, box=None):
    box = place(RED, frame).tolist() if box is None else box
    return {"video": ids[name], "frame": frame, "box_xyxy": box}


def red_png():
    _, data = cv2.imencode(".png", np.full((40, 40, 3), RED, np.uint8)[..., ::-1])
    return data.tobytes()


def put(client, question):
    reply = client.post("/api/questions", json=question)
    assert reply.status_code == 202, reply.text
    return reply.json()["id"]


def put_pictures(client, *pictures, **fields):
    files = [("pictures", (f"{i}.png", data)) for i, data in enumerate(pictures)]
    return client.post("/api/questions", files=files, data=fields)


def events(client, name, **headers):
    """All events of a question until it is over, as (kind, data)."""
    reply = client.get(f"/api/questions/{name}/events", headers=headers)
    assert reply.status_code == 200
    assert reply.headers["content-type"].startswith("text/event-stream")
    found = []
    for block in reply.text.strip().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n"))
        found.append((fields["event"], json.loads(fields["data"])))
    return found
