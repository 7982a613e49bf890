"""Processes that are killed, and two at once: what is kept is always whole and always the same."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from tests.clips import FRAMES, frame
from tests.places import ROOT
from tests.synthetic import write_video
from vq2d.memory.store import Store

pytestmark = pytest.mark.slow
KILLS = 20


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """Videos that take some seconds to remember."""
    folder = tmp_path_factory.mktemp("many")
    for k in range(4):
        images = [frame(i % FRAMES, 60 + 10 * k) for i in range(200)]
        path = write_video(folder / f"video{k}.mp4", images)
        os.utime(path, (1_790_000_000 + k,) * 2)
    return folder


def start(videos, memory):
    """A process that remembers, once its models are loaded."""
    command = [sys.executable, "-m", "tests.vq2d.memory.remembering", str(videos), str(memory)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return process


def finish(process):
    out, err = process.communicate(timeout=280)
    assert process.returncode == 0, out + err


def contents(folder):
    """The bytes of all files of all videos, and the catalogue without its times."""
    files = {
        str(path.relative_to(folder)): path.read_bytes()
        for path in (folder / "videos").rglob("*")
        if path.is_file()
    }
    rows = [replace(video, added_at=None) for video in Store(folder).videos()]
    return files, rows


@pytest.fixture(scope="module")
def undisturbed(many, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed") / "memory"
    finish(start(many, folder))
    return folder


@pytest.mark.timeout(1200)
def test_a_memory_is_the_same_however_often_its_making_is_killed(many, undisturbed, tmp_path):
    expected = undisturbed
    rng, memory, killed = random.Random(0), tmp_path / "memory", 0
    for _ in range(KILLS):
        process = start(many, memory)
        time.sleep(rng.uniform(0, 0.8))
        process.kill()
        killed += process.wait() == -9
        process.stdout.close()
        process.stderr.close()
    assert killed >= KILLS * 3 // 4
    finish(start(many, memory))
    assert contents(memory) == contents(expected)
    assert [p.name for p in (memory / "making").glob("*/*") if p.is_dir()] == []


def test_two_processes_share_the_work_and_make_the_same(many, undisturbed, tmp_path):
    expected = undisturbed
    processes = [start(many, tmp_path / "memory") for _ in range(2)]
    for process in processes:
        finish(process)
    assert contents(tmp_path / "memory") == contents(expected)
