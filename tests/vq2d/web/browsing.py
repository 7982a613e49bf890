"""What the tests of the page in a real browser do, and what they read from it."""

from __future__ import annotations

import base64
import threading
import time
from contextlib import contextmanager

import cv2
import numpy as np

from vq2d.web.access import Access
from vq2d.web.server import build_server, listening

STAGE, ANSWER = "#finder .stage", "#shown .stage"
PIXELS = """e => {
  const c = document.createElement("canvas");
  c.width = e.naturalWidth || e.videoWidth; c.height = e.naturalHeight || e.videoHeight;
  c.getContext("2d").drawImage(e, 0, 0);
  return c.toDataURL("image/png");
}"""


WINDOWS = []
"""Closed before the server ends: a page that goes on asking would find nobody, and say so."""


def close_windows():
    while WINDOWS:
        WINDOWS.pop().close()


@contextmanager
def serving(memory, videos=()):
    """Address of the page of a memory, served by a thread."""
    with listening("127.0.0.1", 0) as listener:
        access = Access.at("127.0.0.1", listener.getsockname()[1])
        server = build_server(memory, access, videos)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield access.url
        finally:
            close_windows()
            server.should_exit = True
            thread.join(20)


def pixels(page, selector):
    data = page.eval_on_selector(selector, PIXELS).partition(",")[2]
    return cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), 1)[..., ::-1]


def until(page, selector, condition):
    """Wait for a condition of an element; the page's policy forbids Playwright's own way."""
    for _ in range(400):
        if page.eval_on_selector(selector, condition):
            return
        time.sleep(0.05)
    raise AssertionError(f"{condition} of {selector}: {page.inner_text(selector)}")


def scrub(page, number):
    page.eval_on_selector(
        "#finder input[type=range]",
        "(e, n) => { e.value = n; e.dispatchEvent(new Event('input')); }",
        number,
    )
    page.wait_for_selector(f"{STAGE}[data-frame='{number}']")


def drag_box(page, box, stage=STAGE):
    shown = page.locator(stage).bounding_box()
    k = shown["width"] / 96
    x1, y1, x2, y2 = (float(v) * k for v in box)
    page.mouse.move(shown["x"] + x1, shown["y"] + y1)
    page.mouse.down()
    page.mouse.move(shown["x"] + (x1 + x2) / 2, shown["y"] + (y1 + y2) / 2)
    page.mouse.move(shown["x"] + x2, shown["y"] + y2)
    page.mouse.up()


def box_on(page, stage, mark):
    """Where a box lies on a stage, in pixels of the video of 96 x 64."""
    outer = page.locator(stage).bounding_box()
    inner = page.locator(f"{stage} {mark}").bounding_box()
    k = 96 / outer["width"]
    x, y = (inner["x"] - outer["x"]) * k, (inner["y"] - outer["y"]) * k
    return np.array([x, y, x + inner["width"] * k, y + inner["height"] * k])


def choose(page, name):
    page.click(f"#videos .tile[title='{name}']")
    page.wait_for_selector(f"{STAGE} img[alt^='{name}']")
