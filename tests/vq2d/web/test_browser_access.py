"""The page by keyboard alone, and what axe says of every state of it, light and dark."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from tests.clips import RED, place
from tests.synthetic import numbered_frame, write_video
from tests.vq2d.web.browsing import ANSWER, STAGE, box_on, choose, drag_box, scrub, serving, until
from vq2d.web import additions

SHOWS_FOCUS = "e => getComputedStyle(e).outlineStyle !== 'none' || e.closest('label') !== null"


LATEST = """async () => {
  const [{ id }] = await (await fetch("/api/answers")).json();
  return (await fetch(`/api/answers/${id}`)).json();
}"""


def fulfil(route, *, reply):
    route.fulfill(json=reply)


def tab_to(page, selector):
    """Press Tab until an element has the focus; all on the way show that they have it."""
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.eval_on_selector("body", "() => document.activeElement === document.body"):
            continue
        assert page.eval_on_selector(":focus", SHOWS_FOCUS), page.evaluate(
            "document.activeElement.outerHTML"
        )
        if page.eval_on_selector(":focus", f"e => e.matches({selector!r})"):
            return
    raise AssertionError(f"Tab does not come to {selector}")


def press(page, key, times):
    for _ in range(times):
        page.keyboard.press(key)


def test_a_question_is_asked_and_its_answer_read_by_keyboard_alone(memory, open_page):
    with serving(memory) as url:
        page = open_page(url, reduced_motion="reduce")
        tab_to(page, ".tile[title='kitchen.mp4']")
        page.keyboard.press("Enter")
        page.wait_for_selector(f"{STAGE} img[alt^='kitchen.mp4']")
        tab_to(page, "#finder input[type=range]")
        press(page, "ArrowRight", 4)
        page.wait_for_selector(f"{STAGE}[data-frame='4']")
        tab_to(page, "#place-box")
        page.keyboard.press("Enter")
        until(page, f"{STAGE} .box", "e => e === document.activeElement")
        press(page, "ArrowLeft", 20)
        press(page, "ArrowUp", 14)
        press(page, "Shift+ArrowLeft", 8)
        assert np.abs(box_on(page, STAGE, ".box") - place(RED, 4)).max() < 0.5
        page.keyboard.press("Enter")
        until(page, "#status", "e => e.textContent === 'Done.'")
        assert "Last seen" in page.inner_text("#shown .headline[aria-live=polite]")
        page.wait_for_selector(f"{ANSWER}[data-frame='20']")

        tab_to(page, "#shown .line")
        page.keyboard.press("Home")
        page.wait_for_selector(f"{ANSWER}[data-frame='0']")
        tab_to(page, "#shown .card[aria-pressed=false]")
        page.keyboard.press("Enter")
        until(page, "#shown .headline", "e => e.textContent.includes('Seen')")
        tab_to(page, "#before .card")


def test_axe_finds_nothing_serious_in_any_state(
    memory, open_page, held_tracks, monkeypatch, tmp_path
):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    (tmp_path / "shelf").mkdir()
    write_video(tmp_path / "shelf" / "hall.mp4", map(numbered_frame, range(30)))
    (tmp_path / "shelf" / "broken.mp4").write_bytes(b"no video")
    monkeypatch.setattr(additions.Addition, "seconds_left", property(lambda self: 75.0))

    def check(state):
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            found = axe.run(page).response["violations"]
            grave = [v for v in found if v["impact"] in ("serious", "critical")]
            assert grave == [], f"{state}, {scheme}: " + "; ".join(
                f"{v['help']}: {node['html']}" for v in grave for node in v["nodes"]
            )

    with serving(memory, [tmp_path / "shelf"]) as url:
        page = open_page(url, viewport={"width": 390, "height": 844})
        check("list")
        choose(page, "kitchen.mp4")
        scrub(page, 4)
        check("still")
        drag_box(page, place(RED, 4))
        until(page, "#status", "e => e.textContent.startsWith('Seen')")
        check("question running")

        page.click("text=Add videos")
        page.click("[aria-label='Remember hall.mp4']")
        page.click("[aria-label='Remember broken.mp4']")
        until(page, ".additions", "e => e.children.length === 2")
        check("videos waiting")
        held_tracks.set()
        until(page, "#status", "e => e.textContent.endsWith('is remembered.')")
        page.wait_for_selector(".additions .wrong")
        check("answer, a video remembered and one that failed")

        answer = page.evaluate(LATEST)
        guesses = [{**one, "believed": False} for one in answer["sightings"]]
        for state, sightings in (("probably not there", guesses), ("Not found", [])):
            reply = {**answer, "sightings": sightings}
            page.route("**/api/answers/*", partial(fulfil, reply=reply))
            page.evaluate("location.hash = ''")
            page.evaluate(f"location.hash = 'answer={answer['id']}'")
            until(page, "#shown .headline", f"e => e.textContent.startsWith('{state}')")
            check(state)
            page.unroute_all()
        page.check("input[value=pictures]")
        check("photos")
