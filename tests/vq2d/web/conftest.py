"""The page of a memory of three short videos, with tiny models."""

from __future__ import annotations

import shutil
import threading
from urllib.parse import urlsplit

import pytest
from fastapi.testclient import TestClient

from tests.job import tiny_localizer
from tests.vq2d.memory.conftest import CONFIG, make, memory, remembered, videos  # noqa: F401
from tests.vq2d.web.browsing import STAGE, WINDOWS, close_windows
from vq2d.memory.memory import Memory, open_store
from vq2d.web.access import Access
from vq2d.web.app import build_app

ACCESS = Access("127.0.0.1", 8421)
URL = "http://127.0.0.1:8421"


def client_of(memory, access=ACCESS, url=URL, videos=(), **options):  # noqa: F811
    return TestClient(build_app(memory, access, videos), base_url=url, **options)


@pytest.fixture
def client(memory):  # noqa: F811
    with client_of(memory) as client:
        yield client


@pytest.fixture
def ids(memory):  # noqa: F811
    """Id of each video by its name."""
    return {video.path.stem: video.fingerprint for video in memory.videos()}


@pytest.fixture
def copy_of(remembered, tmp_path):  # noqa: F811
    """Opens another copy of the memory, whose answers are its own."""

    def call(name) -> Memory:
        shutil.copytree(remembered, tmp_path / name)
        localizer = tiny_localizer(CONFIG)
        return Memory(open_store(tmp_path / name, localizer, "tiny"), localizer)

    return call


@pytest.fixture(scope="session")
def browser():
    """Debian's chromium, which plays H.264."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("chromium is not installed")
    with playwright.sync_playwright() as tool:
        started = tool.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def open_page(browser):
    """Opens the page at an address.

    Every error in it fails the test, and every request that leaves this machine.
    """
    wrong = []

    def heard(message, expected):
        if message.type == "error" and not any(part in message.text for part in expected):
            wrong.append(message.text)

    def asked(request):
        if urlsplit(request.url).hostname not in ("127.0.0.1", None):  # None: blob:
            wrong.append(f"asks {request.url}")

    def call(url, expected=(), first=f"{STAGE}[data-frame='0']", **options):
        WINDOWS.append(browser.new_context(**options))
        page = WINDOWS[-1].new_page()
        page.set_default_timeout(20_000)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda m: heard(m, expected))
        page.on("request", asked)
        page.goto(url)
        page.wait_for_selector(first)
        return page

    yield call
    close_windows()
    assert wrong == []


@pytest.fixture
def held_tracks(memory, monkeypatch):  # noqa: F811
    """Tracks are followed once this is set; until then, only moments are known."""
    follow, release = memory.localizer.follow, threading.Event()

    def wait(*arguments, **options):
        release.wait(20)
        return follow(*arguments, **options)

    monkeypatch.setattr(memory.localizer, "follow", wait)
    yield release
    release.set()
