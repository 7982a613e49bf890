"""A memory of three short videos, made by tiny models."""

from __future__ import annotations

import os
import shutil
from datetime import datetime, timezone

import pytest

from tests.clips import FRAMES, RED, frame, place
from tests.job import MEMORY_CONFIG as CONFIG
from tests.job import tiny_localizer
from tests.synthetic import write_video
from vq2d.localize.presets import VQ2DConfig
from vq2d.memory.ask import MemoryQuestion
from vq2d.memory.memory import Memory, open_store
from vq2d.types import ObjectView

RECORDED = {
    "kitchen": datetime(2026, 11, 20, 9, tzinfo=timezone.utc),
    "office": datetime(2026, 11, 20, 17, tzinfo=timezone.utc),
    "garden": datetime(2026, 11, 21, 8, tzinfo=timezone.utc),
}


@pytest.fixture(scope="session")
def videos(tmp_path_factory):
    """Red is seen in kitchen and in office, at 0.6 to 1.6 s and 3.0 to 4.2 s; garden is empty."""
    folder = tmp_path_factory.mktemp("videos")
    images = {
        "kitchen": [frame(i) for i in range(FRAMES)],
        "office": [frame(i, 110) for i in range(FRAMES)],
        "garden": [frame(29, 100)] * 20,
    }
    for name, recorded in RECORDED.items():
        path = write_video(folder / f"{name}.mp4", images[name])
        os.utime(path, (recorded.timestamp(),) * 2)
    return folder


@pytest.fixture
def make(tmp_path):
    """Opens the memory of this test with tiny models."""

    def call(config: VQ2DConfig = CONFIG, folder="memory") -> Memory:
        localizer = tiny_localizer(config)
        return Memory(open_store(tmp_path / folder, localizer, "tiny"), localizer)

    return call


@pytest.fixture(scope="session")
def remembered(videos, tmp_path_factory):
    """Folder of a memory of all three videos, to be copied."""
    localizer = tiny_localizer(CONFIG)
    folder = tmp_path_factory.mktemp("remembered") / "memory"
    memory = Memory(open_store(folder, localizer, "tiny"), localizer)
    for name in RECORDED:
        assert memory.add(videos / f"{name}.mp4") is not None
    return folder


@pytest.fixture
def memory(make, remembered, tmp_path):
    """All three videos, remembered."""
    shutil.copytree(remembered, tmp_path / "memory")
    return make()


@pytest.fixture
def red():
    """Where is the red square? By a picture of it."""
    return MemoryQuestion((ObjectView(frame(4), place(RED, 4)),))
