"""Workers on a cluster of two nodes: what is done, what dies, who is refused."""

from __future__ import annotations

import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from ren_core.errors import ConfigError, RunStoppedError
from ren_core.executor.base import Item
from ren_core.executor.ray import RayExecutor
from tests.cluster import STORE, needs_ray, small_cluster
from tests.ren_core.executor.toys import Build

pytestmark = needs_ray


@pytest.fixture(scope="module")
def cluster():
    with small_cluster() as cluster:
        yield cluster


def item(name, size=1, **load):
    return Item(name, size, {"name": name, **load})


def times_begun(folder, name):
    return len((folder / f"{name}.begun").read_text())


@pytest.fixture
def open_pool(cluster, tmp_path):
    """Opens workers that write into this test's folder."""

    def open_pool(fault="", expected=None, workers=2, **size):
        executor = RayExecutor(workers=workers, **size)
        build = Build(tmp_path, fault)
        return executor.open(build, shared=tmp_path, expected=expected or {})

    return open_pool


def test_a_killed_worker_costs_nothing_and_a_killing_item_only_itself(
    open_pool, tmp_path, caplog, capfd
):
    items = [
        item("small", 1),
        item("large", 9, frames=9),
        item("once", 5, dies="once"),
        item("killer", 7, dies="always"),
        item("last", 2),
    ]
    made = Counter()
    with caplog.at_level("INFO"), open_pool(expected={"code": "abc"}) as pool:
        import ray

        names = [actor["name"] for actor in ray.util.list_named_actors(all_namespaces=True)]
        assert sorted(name[:9] for name in names) == ["worker-1-", "worker-2-"]
        found = {d.item.name: d for d in pool.map(items, lambda w, n: made.update({w: n}))}
    assert {name for name, done in found.items() if done.lost} == {"killer"}
    assert "died 3 times while it was at it" in found["killer"].lost
    assert [done.result for name, done in found.items() if name != "killer"] == [1] * 4  # threads
    assert made == {"frames": 12}
    begun = {name: times_begun(tmp_path, name) for name in found}
    assert begun == {"small": 1, "large": 1, "once": 2, "killer": 3, "last": 1}
    assert next(iter(found)) == "large"
    assert "5 of 5 done" in caplog.text
    assert "frames/s" in caplog.text
    assert "left" in caplog.text
    assert list(tmp_path.glob(".seen*")) == []


def test_a_node_that_leaves_gives_its_item_back(cluster, open_pool, tmp_path):
    node = next(iter(cluster.worker_nodes))
    items = [item("a", 9, waits=5), item("b", 8, waits=5), item("c", 1)]

    def remove():
        while not all((tmp_path / f"{name}.begun").exists() for name in "ab"):
            time.sleep(0.1)
        cluster.remove_node(node)

    leaving = threading.Thread(target=remove)
    try:
        with open_pool() as pool:
            leaving.start()
            done = {d.item.name: d.lost for d in pool.map(items, lambda *_: None)}
    finally:
        leaving.join()
        cluster.add_node(num_cpus=1, **STORE)
    assert done == {"a": "", "b": "", "c": ""}
    assert sorted(times_begun(tmp_path, name) for name in "ab") == [1, 2]


def test_what_a_worker_raises_is_raised_here(open_pool):
    stop = RunStoppedError("stopped at clip a: no space")
    with open_pool(workers=1) as pool, pytest.raises(RunStoppedError, match="no space"):
        list(pool.map([item("full", raises=stop)], lambda *_: None))


def test_a_worker_that_sees_another_folder_is_refused(cluster, tmp_path, monkeypatch):
    (tmp_path / "shared").mkdir()
    monkeypatch.chdir(tmp_path)
    shared = Path("/proc/self/cwd/shared")  # another folder to every process
    opening = RayExecutor(workers=1).open(Build(tmp_path), shared=shared, expected={})
    message = "does not see the files that the head writes into"
    with pytest.raises(ConfigError, match=message), opening:
        pass
    assert list((tmp_path / "shared").iterdir()) == []


@pytest.mark.parametrize(
    ("fault", "expected", "message"),
    [
        ("differs", {}, r"worker-\d-\w+ on node [\d.]+ has code \d+, and the head or another wo"),
        ("", {"code": "abd"}, "has code abc, and the head or another worker abd: .* Install the"),
    ],
)
def test_a_worker_of_other_code_is_refused(open_pool, fault, expected, message):
    with (
        pytest.raises(ConfigError, match=message),
        open_pool(fault, expected, workers=2 if fault else 1),
    ):
        pass


def test_workers_that_die_while_they_load_stop_the_run(open_pool):
    message = "died 3 times before its models were loaded"
    with pytest.raises(RunStoppedError, match=message), open_pool("dies", workers=1):
        pass


def test_a_worker_that_fits_no_node_is_refused(open_pool):
    message = r"room for a worker of 64 CPUs and 0 GPUs \(its nodes"
    with pytest.raises(ConfigError, match=message), open_pool(cpus_per_worker=64):
        pass
