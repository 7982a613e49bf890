import json
import logging
import time

import pytest

from ren_core import progress
from ren_core.command import exit_code
from ren_core.progress import events_to, tqdm


@pytest.fixture
def clock(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def test_without_a_terminal_a_line_a_minute_is_logged(clock, caplog):
    caplog.set_level(logging.INFO)
    for _ in tqdm(range(100), desc="tokens", unit="frame", disable=None):
        clock[0] += 2
    lines = [record.message for record in caplog.records]
    assert lines[0] == "tokens: 30 of 100 frames, 0.5 a second, 0:02:20 left"
    assert lines[-1] == "tokens: 100 of 100 frames, 0.5 a second, 0:00:00 left"
    assert len(lines) == 4


def test_what_takes_less_than_a_minute_is_not_logged(clock, caplog):
    caplog.set_level(logging.INFO)
    with tqdm(total=10, desc="queries", disable=None) as bar:
        for _ in range(10):
            clock[0] += 5
            bar.update()
    assert caplog.records == []


def test_events_go_to_the_file_of_the_command_and_end_with_it(clock, tmp_path):
    file = tmp_path / "new" / "events.jsonl"

    def run():
        events_to(file)
        with tqdm(total=None, desc="videos", unit="video", initial=3, disable=None) as bar:
            clock[0] += 70
            bar.update(7)

    assert exit_code(run) == 0
    list(tqdm(range(3), disable=None))  # after the command
    events = [json.loads(line) for line in file.read_text().splitlines()]
    assert [event["state"] for event in events] == ["begun", "going on", "ended"]
    assert [event["done"] for event in events] == [3, 10, 10]
    assert events[0]["per_s"] is None
    assert events[1]["per_s"] == pytest.approx(0.1)
    assert events[1]["left_s"] is None  # the total is not known
    assert {event["stage"] for event in events} == {"videos"}


def test_a_silent_bar_is_silent(clock, caplog, tmp_path):
    caplog.set_level(logging.INFO)

    def run():
        events_to(tmp_path / "events.jsonl")
        for _ in tqdm(range(100), disable=True):
            clock[0] += 60

    exit_code(run)
    assert caplog.records == []
    assert not (tmp_path / "events.jsonl").exists()


def test_only_one_place_uses_the_other_bar():
    root = progress.Path(progress.__file__).parents[1]
    folders = ("ren_core", "vq2d", "eval", "pipelines")
    files = [file for folder in folders for file in (root / folder).rglob("*.py")]
    users = [file.name for file in files if "from tqdm import" in file.read_text()]
    assert users == ["progress.py"]
