"""Stage directories, atomic files, and what killed processes leave behind."""

from __future__ import annotations

import json
import logging
import os
import platform
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Annotated

import pytest

from ren_core import stages
from ren_core.code_identity import code_digest
from ren_core.errors import ConfigError, DataError, StaleStageError
from ren_core.stages import (
    NOT_CONTENT,
    atomic_path,
    file_fingerprint,
    open_stage,
    remove_leftovers,
    to_plain,
    write_json,
)

KILLED = """
import os, signal, sys
from pathlib import Path
from ren_core.stages import atomic_path
with atomic_path(Path(sys.argv[1])) as tmp:
    tmp.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""

TOGETHER = """
import sys, time
from pathlib import Path
from ren_core import stages
out, go = Path(sys.argv[1]), Path(sys.argv[2])
write, made = stages.write_json, []
def write_slowly(target, value):
    made.append(target)
    time.sleep(0.02)
    write(target, value)
stages.write_json = write_slowly
(out / f"ready-{sys.argv[3]}").touch()
until = time.monotonic() + 60
while not go.exists() and time.monotonic() < until:
    time.sleep(0.001)
for number in range(20):
    stages.open_stage(out, "tokens", {"number": number}, code="ren_core.stages")
print(len(made))
"""


CODE = "ren_core.errors"


@dataclass(frozen=True)
class Settings:
    size: int = 3


@dataclass(frozen=True)
class Batched:
    size: int = 3
    batch: Annotated[int, NOT_CONTENT] = 1


def test_a_stage_directory_belongs_to_one_configuration(tmp_path):
    first = open_stage(tmp_path, "tokens", Settings(), code=CODE)
    assert open_stage(tmp_path, "tokens", Settings(), code=CODE) == first
    others = [
        open_stage(tmp_path, "tokens", Settings(4), code=CODE),
        open_stage(tmp_path, "tokens", Settings(), upstream=["a"], code=CODE),
        open_stage(tmp_path, "search", Settings(), code=CODE),
    ]
    assert len({first, *others}) == 4
    (first / "stage.json").write_text(json.dumps({"config": "edited"}))
    with pytest.raises(StaleStageError, match="another configuration"):
        open_stage(tmp_path, "tokens", Settings(), code=CODE)


def test_the_code_belongs_to_the_identity(tmp_path, monkeypatch):
    stage = open_stage(tmp_path, "tokens", Settings(), code="ren_core.stages")
    assert stage == open_stage(tmp_path, "tokens", Settings(), code="ren_core.stages")
    assert stage != open_stage(tmp_path, "tokens", Settings(), code="ren_core.errors")
    both = open_stage(tmp_path, "tokens", Settings(), code=["ren_core.stages", "ren_core.errors"])
    assert both != stage
    record = json.loads((stage / "stage.json").read_text())
    assert record["code"] == code_digest("ren_core.stages")
    monkeypatch.setattr(stages, "code_digest", lambda module: f"edited {module}")
    assert stage != open_stage(tmp_path, "tokens", Settings(), code="ren_core.stages")
    monkeypatch.undo()
    with pytest.raises(DataError, match=r"ren_core\.gone"):
        open_stage(tmp_path, "tokens", Settings(), code="ren_core.gone")


def test_what_only_matters_for_speed_is_no_part_of_the_identity(tmp_path):
    stages_ = [
        open_stage(tmp_path, "tokens", {"nested": [Batched(batch=n)]}, code=CODE) for n in (1, 2)
    ]
    assert stages_[0] == stages_[1]
    assert stages_[0] != open_stage(tmp_path, "tokens", {"nested": [Batched(4)]}, code=CODE)
    assert to_plain(Batched(batch=7))["batch"] == 7


def test_a_stage_of_older_code_is_kept_on_purpose_only(tmp_path, monkeypatch):
    old = open_stage(tmp_path, "tokens", Settings(), code=CODE)
    digest = json.loads((old / "stage.json").read_text())["code"]
    monkeypatch.setattr(stages, "code_digest", lambda module: "edited")
    assert open_stage(tmp_path, "tokens", Settings(), code=CODE) != old
    assert open_stage(tmp_path, "tokens", Settings(), code=CODE, keep=digest) == old
    with pytest.raises(ConfigError, match=f"by the code none; there are some by .*{digest}"):
        open_stage(tmp_path, "tokens", Settings(), code=CODE, keep="none")
    with pytest.raises(ConfigError, match="there are none by other code"):
        open_stage(tmp_path, "tokens", Settings(9), code=CODE, keep="none")


def test_other_versions_are_said_and_not_refused(tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.INFO, "ren_core.stages")
    stage = open_stage(tmp_path, "tokens", Settings(), code=CODE)
    versions = json.loads((stage / "stage.json").read_text())["versions"]
    assert list(versions) == ["python", "torch", "numpy", "opencv", "av", "openvino"]
    assert versions["python"] == platform.python_version()
    assert all(versions.values())
    assert open_stage(tmp_path, "tokens", Settings(), code=CODE) == stage
    assert not caplog.records

    monkeypatch.setattr(stages, "_versions", lambda: {**versions, "torch": "0.4", "av": None})
    content = (stage / "stage.json").read_bytes()
    assert open_stage(tmp_path, "tokens", Settings(), code=CODE) == stage
    assert (stage / "stage.json").read_bytes() == content
    (line,) = caplog.messages
    assert f"torch {versions['torch']}, now 0.4; av {versions['av']}, now None" in line


def test_a_package_that_is_not_installed_has_no_version(tmp_path, monkeypatch):
    monkeypatch.setattr(
        stages, "DISTRIBUTIONS", {"none": ("no-such", "nor-this"), "np": ("numpy",)}
    )
    versions = stages._versions.__wrapped__()
    assert versions["none"] is None
    assert versions["np"]


def test_a_stage_that_knew_no_versions_is_read(tmp_path, caplog):
    caplog.set_level(logging.INFO, "ren_core.stages")
    stage = open_stage(tmp_path, "tokens", Settings(), code=CODE)
    record = json.loads((stage / "stage.json").read_text())
    del record["versions"]
    write_json(stage / "stage.json", record)
    assert open_stage(tmp_path, "tokens", Settings(), code=CODE) == stage
    assert not caplog.records


def test_two_processes_open_one_stage_at_the_same_moment(tmp_path):
    go = tmp_path / "go"
    command = [sys.executable, "-c", TOGETHER, str(tmp_path), str(go)]
    both = [
        subprocess.Popen([*command, str(i)], stdout=subprocess.PIPE, text=True) for i in range(2)
    ]
    while len(list(tmp_path.glob("ready-*"))) < 2:
        assert all(process.poll() is None for process in both)
        time.sleep(0.01)
    go.touch()
    made = [int(process.communicate(timeout=60)[0]) for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sum(made) == 20, "each stage is made once"
    records = list(tmp_path.glob("tokens-*/stage.json"))
    assert {json.loads(file.read_text())["config"]["number"] for file in records} == set(range(20))
    assert not list(tmp_path.rglob("*.partial"))


def test_a_stage_that_is_there_is_opened_without_a_lock(tmp_path, monkeypatch):
    stage = open_stage(tmp_path, "tokens", Settings(), code=CODE)
    monkeypatch.setattr(stages, "FileLock", None)  # its folder may be one that can only be read
    assert open_stage(tmp_path, "tokens", Settings(), code=CODE) == stage


def test_a_file_appears_only_when_it_is_complete(tmp_path):
    target = tmp_path / "deep" / "a.txt"
    with pytest.raises(ZeroDivisionError), atomic_path(target) as tmp:  # noqa: PT012
        tmp.write_text("half")
        assert not target.exists()
        1 / 0  # noqa: B018
    assert list(target.parent.iterdir()) == []
    write_json(target, {"a": 1})
    assert json.loads(target.read_text()) == {"a": 1}
    before = file_fingerprint(target)
    target.write_text("other")
    assert file_fingerprint(target) != before


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_what_a_killed_process_left_goes_when_its_stage_is_opened(tmp_path):
    stage = open_stage(tmp_path, "tokens", {"a": 1}, code=CODE)
    target = stage / "clip" / "000000.safetensors"
    assert subprocess.run([sys.executable, "-c", KILLED, str(target)], check=False).returncode < 0
    assert len(list(stage.rglob("*.partial"))) == 1
    assert open_stage(tmp_path, "tokens", {"a": 1}, code=CODE) == stage
    assert not list(stage.rglob("*.partial"))
    assert not target.exists()


def test_temporaries_of_living_processes_stay_for_a_day(tmp_path):
    with atomic_path(tmp_path / "file") as mine:
        mine.write_text("so far")
        foreign = tmp_path / ".other.0123abcd-1.partial"  # another machine's process 1
        foreign.touch()
        remove_leftovers(tmp_path)
        assert mine.exists()
        assert foreign.exists()
        os.utime(foreign, (time.time() - 90_000,) * 2)
        remove_leftovers(tmp_path)
        assert mine.exists()
        assert not foreign.exists()


def test_a_file_that_would_not_change_is_left_untouched(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"a": 1})
    os.utime(path, (1, 1))
    write_json(path, {"a": 1})
    assert path.stat().st_mtime == 1
    write_json(path, {"a": 2})
    assert path.stat().st_mtime > 1
