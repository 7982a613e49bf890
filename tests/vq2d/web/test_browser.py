"""The page in a real browser: the picture that is shown is the right one, the box where it belongs.

Needs playwright and Debian's chromium; skipped without them.
"""

from __future__ import annotations

import re
import time

import av
import numpy as np
import pytest
from PIL import Image

from tests.clips import BLUE, RED, frame, place
from tests.job import tiny_localizer
from tests.synthetic import frame_number, numbered_frame, write_video
from tests.vq2d.memory.conftest import CONFIG
from tests.vq2d.web.asking import red_png
from tests.vq2d.web.browsing import (
    ANSWER,
    STAGE,
    box_on,
    choose,
    drag_box,
    pixels,
    scrub,
    serving,
    until,
)
from vq2d.memory.memory import Memory, open_store

ONE_CARD = "e => e.querySelectorAll('.card').length === 1"
"""Of what was asked before: it is read anew after an answer is there."""


@pytest.fixture
def numbered(tmp_path):
    """A memory of one video, whose frames show their numbers."""
    localizer = tiny_localizer(CONFIG)
    memory = Memory(open_store(tmp_path / "memory", localizer, "tiny"), localizer)
    memory.add(write_video(tmp_path / "numbered.mp4", map(numbered_frame, range(150)), 30))
    return memory


@pytest.mark.parametrize("size", [(390, 844), (1400, 1000)])
def test_a_box_is_dragged_and_the_answer_is_the_right_frame_with_the_box_on_it(
    memory, open_page, size
):
    width, height = size
    still = {"viewport": {"width": width, "height": height}, "reduced_motion": "reduce"}
    with serving(memory) as url:
        page = open_page(url, **still)
        choose(page, "kitchen.mp4")
        assert page.is_hidden("#ask")
        scrub(page, 4)
        shown = pixels(page, f"{STAGE} img")
        assert np.abs(shown.astype(int) - frame(4)).mean() < 6
        drag_box(page, place(RED, 4))
        assert np.abs(box_on(page, STAGE, ".box") - place(RED, 4)).max() < 1
        until(page, "#status", "e => e.textContent === 'Done.'")
        headline = page.inner_text("#shown .headline")
        assert re.search(r"found\s*Last seen", headline)
        assert "office.mp4, 0:03.0 to 0:04.2" in page.inner_text("#shown")
        page.wait_for_selector(f"{ANSWER}[data-frame='20']")
        shown = pixels(page, f"{ANSWER} img")
        differences = [np.abs(shown.astype(int) - frame(i, 110)).mean() for i in range(15, 21)]
        assert int(np.argmin(differences)) == 5
        assert np.abs(box_on(page, ANSWER, ".mark") - place(RED, 20)).max() < 2
        assert page.locator("#shown .card").count() == 3
        until(page, "#before", ONE_CARD)
        assert page.evaluate("document.documentElement.scrollWidth") <= width

        address = page.url
        assert "#answer=" in address
        page = open_page(address, **still)
        page.wait_for_selector(f"{ANSWER}[data-frame='20']")

        timeline = page.locator("#shown .line")
        place_17 = timeline.bounding_box()["width"] * 17.5 / 30
        timeline.click(position={"x": place_17, "y": 40})
        page.wait_for_selector(f"{ANSWER}[data-frame='17']")
        assert np.abs(box_on(page, ANSWER, ".mark") - place(RED, 17)).max() < 2


def test_the_box_is_placed_and_moved_by_keys(memory, open_page):
    with serving(memory) as url:
        page = open_page(url)
        page.focus("#place-box")
        page.keyboard.press("Enter")
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Shift+ArrowRight")
        assert np.abs(box_on(page, STAGE, ".box") - [37, 25, 62, 41]).max() < 0.5
        assert page.is_enabled("#ask")
        page.keyboard.press("Delete")
        assert page.is_hidden("#ask")


def test_an_answer_takes_three_actions(memory, open_page, record_property):
    """Choose the moment, drag, read; models that are tiny, so that the page's own time is told."""
    with serving(memory) as url:
        page = open_page(url)
        choose(page, "kitchen.mp4")
        actions = []

        slider = page.locator("#finder input[type=range]")
        slider.click(position={"x": slider.bounding_box()["width"] * 4.6 / 30, "y": 8})
        page.wait_for_selector(f"{STAGE}[data-frame='4']")
        actions.append("pause")

        drag_box(page, place(RED, 4))
        started = time.monotonic()
        actions.append("drag")

        page.wait_for_selector(f"{ANSWER} .mark", state="visible")
        moment_s = time.monotonic() - started
        until(page, "#status", "e => e.textContent === 'Done.'")
        answer_s = time.monotonic() - started
        assert "Last seen" in page.inner_text("#shown .headline")
        actions.append("read")

    assert actions == ["pause", "drag", "read"]
    assert moment_s <= answer_s < 10
    record_property("seconds to moment and box", moment_s)
    record_property("seconds to the whole answer", answer_s)


def test_a_box_that_is_drawn_anew_cancels_the_question_and_asks_anew(
    memory, open_page, held_tracks
):
    with serving(memory) as url:
        page = open_page(url)
        asked = []
        page.on("request", lambda r: asked.append((r.method, r.url)) if "questions" in r.url else 0)
        choose(page, "kitchen.mp4")
        scrub(page, 4)
        drag_box(page, place(RED, 4) + 6)
        until(page, "#status", "e => e.textContent.startsWith('Seen')")
        page.click(f"{STAGE} .box")  # is no other box
        assert page.is_visible("#cancel")
        drag_box(page, place(RED, 4) - np.array([6, 6, 0, 0]))
        assert page.is_hidden("#ask")
        held_tracks.set()
        until(page, "#status", "e => e.textContent === 'Done.'")
        assert [method for method, _ in asked if method != "GET"] == ["POST", "DELETE", "POST"]
        until(page, "#before", ONE_CARD)  # the first one was not answered


def test_a_press_on_the_moving_picture_stops_it(numbered, open_page):
    with serving(numbered) as url:
        page = open_page(url)
        until(page, "#finder video", "e => e.readyState >= 2")
        page.click("#finder [aria-label=Play]")
        until(page, "#finder video", "e => e.currentTime > 0.5")
        page.click(STAGE)
        until(page, STAGE, "e => e.dataset.frame > 0")
        assert page.is_visible("#finder [aria-label=Play]")
        assert page.is_hidden(f"{STAGE} .box")


def test_a_photo_is_asked_about_and_what_is_no_photo_is_refused(memory, open_page, tmp_path):
    (tmp_path / "red.png").write_bytes(red_png())
    with serving(memory) as url:
        page = open_page(url)
        page.check("input[value=pictures]")
        page.set_input_files("#by-pictures input[type=file]", tmp_path / "red.png")
        page.click("#ask")
        until(page, "#status", "e => e.textContent === 'Done.'")
        assert page.locator("#shown .card").count() == 4
        assert "A photo" in page.inner_text("#before .card")


def test_the_film_shows_the_same_frames_as_the_reader(numbered, open_page):
    with serving(numbered) as url:
        page = open_page(url)
        until(page, "#finder video", "e => e.readyState >= 2")
        into = memory_into(page)
        for number in (1, 7, 20, 3):
            page.eval_on_selector(
                "#finder video",
                "(v, t) => new Promise(go => { v.onseeked = go; v.currentTime = t; })",
                number / 5 + into,
            )
            assert frame_number(pixels(page, "#finder video")) == 6 * number
        page.click("#finder .controls button:first-child")
        time.sleep(0.7)
        page.click("#finder .controls button:first-child")
        until(page, STAGE, "e => e.dataset.frame > 0")
        shown = int(page.get_attribute(STAGE, "data-frame"))
        assert frame_number(pixels(page, f"{STAGE} img")) == 6 * shown


def memory_into(page):
    return page.evaluate(
        "async () => { const [v] = await (await fetch('/api/videos')).json();"
        " return (await (await fetch('/api/videos/' + v.id)).json()).seconds_into_frame; }"
    )


def test_a_box_is_drawn_by_finger(memory, open_page):
    with serving(memory) as url:
        page = open_page(url, viewport={"width": 390, "height": 844}, has_touch=True)
        choose(page, "kitchen.mp4")
        scrub(page, 4)
        shown = page.locator(STAGE).bounding_box()
        k = shown["width"] / 96
        x1, y1, x2, y2 = (float(v) * k for v in place(RED, 4))
        finger = page.context.new_cdp_session(page)
        for kind, points in (
            ("touchStart", [(x1, y1)]),
            ("touchMove", [((x1 + x2) / 2, (y1 + y2) / 2)]),
            ("touchMove", [(x2, y2)]),
            ("touchEnd", []),
        ):
            places = [{"x": shown["x"] + x, "y": shown["y"] + y} for x, y in points]
            finger.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": places})
        assert np.abs(box_on(page, STAGE, ".box") - place(RED, 4)).max() < 1.5
        until(page, "#status", "e => e.textContent === 'Done.'")
        assert page.evaluate("scrollY") > shown["y"]  # the answer has come into view


def test_a_box_on_a_photo_says_what_is_asked_about(memory, open_page, tmp_path, ids):
    blue_on_red = np.full((64, 96, 3), RED, np.uint8)
    blue_on_red[10:40, 20:60] = BLUE
    Image.fromarray(blue_on_red).save(tmp_path / "two.png")
    with serving(memory) as url:
        page = open_page(url, reduced_motion="reduce")
        page.check("input[value=pictures]")
        page.set_input_files("#by-pictures input[type=file]", tmp_path / "two.png")
        page.wait_for_selector(".photos button:has-text('Place a box')")
        drag_box(page, (22, 12, 58, 38), ".photos .stage")
        assert np.abs(box_on(page, ".photos .stage", ".box") - [22, 12, 58, 38]).max() < 1
        assert page.is_enabled("#ask")
        page.click("#ask")
        until(page, "#status", "e => e.textContent === 'Done.'")
        assert "office.mp4, 0:01.8 to 0:02.8" in page.inner_text("#shown")  # blue, not red
        assert np.abs(box_on(page, ANSWER, ".mark") - place(BLUE, 13)).max() < 2


def test_a_photo_is_dropped_and_what_is_no_picture_is_said_so(memory, open_page):
    drop = """(zone, name) => {
      const data = new DataTransfer();
      data.items.add(new File(["no picture"], name, { type: "image/png" }));
      zone.dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true }));
    }"""
    with serving(memory) as url:
        page = open_page(url, expected=("status of 400",))
        page.check("input[value=pictures]")
        page.eval_on_selector("#by-pictures .drop", drop, "notes.png")
        assert "notes.png" in page.inner_text(".photos")
        page.click("#ask")
        until(page, "#status", "e => e.classList.contains('wrong')")
        assert page.inner_text("#status").startswith("picture-1 is no picture")
        page.click("text=Remove")
        assert page.is_disabled("#ask")


def test_a_page_that_is_reloaded_and_a_second_one_hear_of_the_same_question(
    memory, open_page, held_tracks
):
    with serving(memory) as url:
        page = open_page(url)
        choose(page, "kitchen.mp4")
        scrub(page, 4)
        drag_box(page, place(RED, 4))
        until(page, "#status", "e => e.textContent.startsWith('Seen')")
        address = page.url
        assert "#question=" in address
        page.reload()
        second = open_page(address)
        for one in (page, second):
            until(one, "#status", "e => e.textContent.startsWith('Seen')")
        held_tracks.set()
        for one in (page, second):
            until(one, "#status", "e => e.textContent === 'Done.'")
            assert one.locator("#shown .card").count() == 3


@pytest.mark.parametrize(("name", "codec"), [("old.avi", "mpeg4"), ("phone.mov", "libx265")])
def test_what_the_browser_cannot_play_is_shown_all_the_same(tmp_path, open_page, name, codec):
    if codec not in av.codecs_available:
        pytest.skip(f"PyAV was built without {codec}")
    localizer = tiny_localizer(CONFIG)
    memory = Memory(open_store(tmp_path / "memory", localizer, "tiny"), localizer)
    memory.add(write_video(tmp_path / name, map(numbered_frame, range(30)), codec=codec))
    with serving(memory) as url:
        page = open_page(url)
        scrub(page, 12)
        assert frame_number(pixels(page, f"{STAGE} img")) == 12
        until(page, "#finder video", "e => e.readyState >= 2")
        scrub(page, 7)
        until(page, "#finder video", "e => !e.seeking && e.readyState >= 2")
        assert frame_number(pixels(page, "#finder video")) == 7


@pytest.mark.parametrize(
    ("believed", "present", "headline", "fact"),
    [
        (None, None, "Not found", "Nothing in the memory is similar enough"),
        (False, None, r"probably not there\s*Best guess: Fri", "; score 0.31"),
        (False, 0.2, r"probably not there\s*Best guess: Fri", "; 20 % sure, score 0.31"),
        (True, None, r"found\s*Last seen Fri", "; score 0.31"),
        (True, 0.9, r"found\s*Last seen Fri", "; 90 % sure, score 0.31"),
    ],
)
def test_how_sure_it_is_that_the_thing_is_there_is_said(
    memory, open_page, believed, present, headline, fact
):
    with serving(memory) as url:
        page = open_page(url)
        ids = {video.path.stem: video.fingerprint for video in memory.videos()}
        sighting = {
            "video": {"id": ids["office"], "name": "office.mp4", "is_there": True, "width": 96,
                      "height": 64, "num_frames": 30, "recorded_from": "file"},
            "first_frame": 15, "end_frame": 17, "start_s": 3.0, "end_s": 3.4, "score": 0.31,
            "last_seen_at": "2026-11-20T17:00:03+00:00", "present": present,
            "believed": believed,
            "boxes_xyxy": [[1, 2, 3, 4]] * 2,
            "curve": {"frames": [0, 29], "similarity": [0.1, 0.2], "own": None},
        }  # fmt: skip
        answer = {"id": "a" * 16, "sightings": [] if believed is None else [sighting]}
        page.route("**/api/answers/aaaa*", lambda route: route.fulfill(json=answer))
        page.evaluate("location.hash = 'answer=aaaaaaaaaaaaaaaa'")
        until(page, "#shown .headline", "e => e.textContent !== ''")
        assert re.match(headline, page.inner_text("#shown .headline"))
        assert fact in page.inner_text("#shown")
        page.wait_for_selector(ANSWER, state="hidden" if believed is None else "visible")
