"""The options that choose where work runs, and the executor that needs nothing."""

from __future__ import annotations

import argparse
import importlib.util

import pytest

from ren_core.errors import ConfigError
from ren_core.executor.base import Item
from ren_core.executor.here import Here
from ren_core.executor.options import add_executor_options, chosen_executor
from tests.ren_core.executor.toys import Build


def chosen(*words):
    parser = argparse.ArgumentParser()
    add_executor_options(parser)
    return chosen_executor(parser.parse_args(words))


def test_this_process_is_the_default():
    assert chosen() == Here()


@pytest.mark.parametrize("option", ["--workers", "--cpus-per-worker", "--gpus-per-worker"])
def test_workers_need_a_cluster(option):
    with pytest.raises(ConfigError, match=f"{option} is of workers on a cluster: give --executor"):
        chosen(option, "2")


def test_without_ray_one_sentence_says_so(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'ren-vq2d\[cluster\]'"):
        chosen("--executor", "ray")


def test_address_and_sizes_of_workers(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: True)
    found = chosen("--executor", "ray:10.0.0.1:6379", "--workers", "4", "--gpus-per-worker", "0.5")
    assert (found.address, found.workers) == ("10.0.0.1:6379", 4)
    assert (found.cpus_per_worker, found.gpus_per_worker) == (1, 0.5)
    assert chosen("--executor", "ray", "--cpus-per-worker", "3").address is None


@pytest.mark.parametrize(
    "words",
    [
        ("--executor", "slurm"),
        ("--executor", "ray:"),
        ("--executor", "ray", "--workers", "0"),
        ("--executor", "ray", "--gpus-per-worker", "1.5"),
    ],
)
def test_odd_values_are_usage_errors(words, capsys):
    with pytest.raises(SystemExit):
        chosen(*words)
    assert "must be" in capsys.readouterr().err


def test_here_items_are_done_in_the_order_given(tmp_path):
    items = [Item(name, size, {"name": name}) for name, size in (("small", 1), ("large", 9))]
    made = []
    with Here().open(Build(tmp_path), shared=tmp_path, expected={}) as pool:
        assert pool.identity == {"code": "abc"}
        done = [d.item.name for d in pool.map(items, lambda what, n: made.append((what, n)))]
    assert done == ["small", "large"]
    assert made == [("frames", 1)] * 2


def test_here_what_a_worker_raises_is_raised(tmp_path):
    items = [Item("bad", 1, {"name": "bad", "raises": KeyError("bad")})]
    here = Here().open(Build(tmp_path), shared=tmp_path, expected={})
    with here as pool, pytest.raises(KeyError, match="bad"):
        list(pool.map(items, print))
