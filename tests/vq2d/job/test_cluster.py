"""The main job on a cluster: the same bytes as in one process, whatever is killed on the way."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from tests.clips import FRAMES, RED, clip_json, frame, query_set, write_annotations
from tests.cluster import needs_ray, small_cluster
from tests.job import MEMORY_CONFIG, TinyMemory, TinyRecipe, make_runner, tiny_localizer
from tests.places import ROOT
from tests.synthetic import write_video
from vq2d.commands import remember
from vq2d.commands import run as run_vq2d
from vq2d.job.outputs import write_submission
from vq2d.memory.store import Store

pytestmark = needs_ray
CLIPS = 4


@pytest.fixture(scope="module")
def cluster():
    with small_cluster() as cluster:
        yield cluster


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ego")
    queries = {"1": query_set(RED, 4, 28, (15, 21))}
    clips = [clip_json(f"clip{i}", queries) for i in range(CLIPS)]
    write_annotations(folder, [*clips, clip_json("absent", queries)])
    (folder / "v2/clips").mkdir()
    for n in range(CLIPS):
        images = [frame(i, 90 + 5 * n) for i in range(FRAMES)]
        write_video(folder / f"v2/clips/clip{n}.mp4", images)
    return folder


@pytest.fixture(scope="module")
def alone(root, tmp_path_factory):
    """What one process with one thread writes, and how many images it encodes."""
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("alone")
    runner = make_runner(root, out / "cache")
    report = runner.run()
    write_submission(runner.annotations, report.answers, out)
    return (out / "submission.json").read_bytes(), report.images_encoded


def test_two_workers_write_what_one_process_writes(
    cluster, root, alone, tmp_path, monkeypatch, capfd, caplog
):
    def recipe(files, cache, **_):
        return TinyRecipe(files, cache)

    monkeypatch.setattr(run_vq2d, "AnswererRecipe", recipe)
    folders = ["--data", root, "--out", tmp_path / "out", "--cache", tmp_path / "cache"]
    options = ["--preset", "embedded", "--no-videos", "--executor", "ray", "--workers", "2"]
    with caplog.at_level("INFO"):
        assert run_vq2d.main([*map(str, folders), *options]) == 1  # a clip is absent
    assert (tmp_path / "out/submission.json").read_bytes() == alone[0]
    failures = json.loads((tmp_path / "out/failures.json").read_text())
    assert list(failures["not answered"]) == [f"v0-c{CLIPS}-a0-q1"]
    assert "torch, float32, on cpu" in (tmp_path / "out/config.json").read_text()
    printed = capfd.readouterr().out
    assert f"{alone[1]} images encoded" in printed
    assert f"{CLIPS} of {CLIPS} done" in caplog.text

    import ray

    assert store_bytes(ray) < 2**20  # no pictures travel
    held = ray.put(np.zeros(2**25, np.uint8))
    until = time.monotonic() + 20
    while store_bytes(ray) < 2**25 and time.monotonic() < until:  # or it would not be seen
        time.sleep(0.2)
    assert store_bytes(ray) >= 2**25
    del held


def store_bytes(ray):
    """What the object stores of all nodes hold."""
    total, free = ray.cluster_resources(), ray.available_resources()
    return total["object_store_memory"] - free["object_store_memory"]


def test_a_killed_driver_goes_on_with_what_is_left(cluster, root, alone, tmp_path):
    cache = tmp_path / "cache"
    command = [sys.executable, "-m", "tests.vq2d.job.driving", cluster.address, root, cache]
    with (tmp_path / "log").open("w") as log:
        driver = subprocess.Popen([*map(str, command)], cwd=ROOT, stdout=log, stderr=log)
    while not (done := list(cache.glob("answers-*/*/*.json"))):
        assert driver.poll() is None, (tmp_path / "log").read_text()
        time.sleep(0.05)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    kept = {path: path.stat().st_mtime_ns for path in done}
    assert len(kept) < CLIPS

    runner = make_runner(root, cache)
    report = runner.run()
    write_submission(runner.annotations, report.answers, tmp_path)
    assert (tmp_path / "submission.json").read_bytes() == alone[0]
    assert report.images_encoded < alone[1]
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


def test_a_memory_made_by_workers_is_the_same(cluster, root, tmp_path, monkeypatch):
    videos = root / "v2/clips"
    torch.set_num_threads(1)

    def make(name, *options):
        words = [str(videos), "--memory", str(tmp_path / name), "--preset", "embedded", *options]
        code = remember.main(words)
        files = (path for path in (tmp_path / name / "videos").rglob("*") if path.is_file())
        return code, {path.relative_to(tmp_path / name): path.read_bytes() for path in files}

    monkeypatch.setattr(remember, "build_localizer", lambda *_: tiny_localizer(MEMORY_CONFIG))
    monkeypatch.setattr(remember, "remembering", lambda _: MEMORY_CONFIG)
    alone = make("alone", "--device", "cpu")
    monkeypatch.setattr(remember, "RemembererRecipe", lambda folder, **_: TinyMemory(folder))
    by_workers = make("by_workers", "--executor", "ray", "--workers", "2")
    assert alone == by_workers
    assert alone[0] == 0
    listed = [[v.path for v in Store(tmp_path / n).videos()] for n in ("alone", "by_workers")]
    assert sorted(listed[0]) == sorted(listed[1])
    assert len(listed[1]) == CLIPS
