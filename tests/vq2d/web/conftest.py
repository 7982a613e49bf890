"""The page of a memory of three short videos, with tiny models."""

from __future__ import annotations

import shutil

import pytest
from fastapi.testclient import TestClient

from tests.job import tiny_localizer
from tests.vq2d.memory.conftest import CONFIG, make, memory, remembered, videos  # noqa: F401
from vq2d.memory.memory import Memory, open_store
from vq2d.web.access import Access
from vq2d.web.app import build_app

ACCESS = Access("127.0.0.1", 8421)
URL = "http://127.0.0.1:8421"


def client_of(memory, access=ACCESS, url=URL, **options):  # noqa: F811
    return TestClient(build_app(memory, access), base_url=url, **options)


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
