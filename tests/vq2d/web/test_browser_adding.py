"""Videos added on the page, in a real browser: dropped, by path, cancelled, refused, reloaded."""

from __future__ import annotations

import base64
import threading

import pytest

from tests.clips import RED, place
from tests.synthetic import frame_number, numbered_frame, write_video
from tests.vq2d.web.browsing import STAGE, choose, drag_box, pixels, scrub, serving, until
from vq2d.web import additions

DROP = """([selector, name, type, data]) => {
  const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
  const dropped = new DataTransfer();
  dropped.items.add(new File([bytes], name, { type, lastModified: 1700000000000 }));
  const event = (kind) => new DragEvent(kind, { dataTransfer: dropped, bubbles: true, cancelable: true });
  for (const kind of ["dragover", "drop"]) document.querySelector(selector).dispatchEvent(event(kind));
}"""  # noqa: E501


@pytest.fixture
def hall(tmp_path):
    (tmp_path / "shelf").mkdir()
    return write_video(tmp_path / "shelf" / "hall.mp4", map(numbered_frame, range(30)))


@pytest.fixture
def half_way(monkeypatch):
    """Videos wait after half of their frames until this is set, and let questions through."""
    go, remember = threading.Event(), additions._remember

    def wait(memory, addition, between):
        def between_held():
            while addition.frames_done >= 15 and not go.wait(0.02):
                if addition.is_cancelled.is_set():
                    return
                between()

        remember(memory, addition, between_held)

    monkeypatch.setattr(additions, "_remember", wait)
    yield go
    go.set()


def drop(page, name, data, kind="video/mp4", selector="body"):
    page.evaluate(DROP, [selector, name, kind, base64.b64encode(data).decode()])


def test_a_video_is_dropped_and_its_bar_survives_a_reload_and_a_question(
    memory, open_page, hall, half_way
):
    with serving(memory) as url:
        page = open_page(url)
        drop(page, "my hall.mp4", hall.read_bytes())
        until(page, ".additions", "e => /being remembered, [5-9]\\d %/.test(e.textContent)")
        assert page.get_attribute(".additions progress", "aria-label") == "How far my hall.mp4 is"

        page.reload()
        until(page, ".additions", "e => /being remembered, [5-9]\\d %/.test(e.textContent)")
        assert 0.5 <= page.eval_on_selector(".additions progress", "e => e.value") < 1
        choose(page, "kitchen.mp4")
        scrub(page, 4)
        drag_box(page, place(RED, 4))
        until(page, "#status", "e => e.textContent === 'Done.'")
        assert page.is_visible(".additions progress")

        half_way.set()
        until(page, "#status", "e => e.textContent === 'my hall.mp4 is remembered.'")
        assert page.locator(f"{STAGE} .box").is_visible()  # the choice of before is kept
        choose(page, "my hall.mp4")
        scrub(page, 12)
        assert frame_number(pixels(page, f"{STAGE} img")) == 12
        page.click("text=Dismiss")
        page.wait_for_selector(".additions", state="hidden")


def test_a_video_of_the_servers_list_is_added_and_cancelled(memory, open_page, hall, half_way):
    with serving(memory, [hall.parent]) as url:
        page = open_page(url)
        page.click("text=Add videos")
        page.click("[aria-label='Remember hall.mp4']")
        page.click("[aria-label='Cancel hall.mp4']")
        until(page, ".additions", "e => e.textContent.includes('cancelled')")
        assert len(memory.videos()) == 3
        half_way.set()
        page.click("[aria-label='Remember hall.mp4']")
        until(page, "#status", "e => e.textContent === 'hall.mp4 is remembered.'")
        until(page, ".files", "e => e.textContent.includes('remembered')")
        assert {v.path for v in memory.videos()} >= {hall}


def test_what_cannot_be_added_is_said_in_one_sentence(memory, open_page):
    with serving(memory) as url:
        page = open_page(url, expected=("status of 400",))
        drop(page, "notes.txt", b"no video", "text/plain")
        until(page, "#status", "e => e.textContent.startsWith('notes.txt: notes.txt is not named')")
        drop(page, "broken.mp4", b"no video")
        page.wait_for_selector(".additions .wrong")
        until(page, ".additions .wrong", "e => e.textContent.startsWith('broken.mp4 ')")
        drop(page, "photo.png", b"no picture", "image/png")
        assert page.is_checked("input[value=pictures]")
        assert "photo.png" in page.inner_text(".photos")


def test_an_empty_memory_begins_with_its_first_video(make, open_page, hall):
    memory = make()
    with serving(memory) as url:
        page = open_page(url, first="#adding details[open]")
        assert page.is_hidden(STAGE)
        page.set_input_files("#adding input[type=file]", hall)
        page.wait_for_selector(f"{STAGE}[data-frame='0']")
        assert "1 video" in page.inner_text("#facts")
