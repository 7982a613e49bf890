"""Stage directories, atomic files, and what killed processes leave behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass

import pytest

from ren_core.errors import StaleStageError
from ren_core.stages import atomic_path, file_fingerprint, open_stage, remove_leftovers, write_json

KILLED = """
import os, signal, sys
from pathlib import Path
from ren_core.stages import atomic_path
with atomic_path(Path(sys.argv[1])) as tmp:
    tmp.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@dataclass(frozen=True)
class Settings:
    size: int = 3


def test_a_stage_directory_belongs_to_one_configuration(tmp_path):
    first = open_stage(tmp_path, "tokens", Settings())
    assert open_stage(tmp_path, "tokens", Settings()) == first
    others = [
        open_stage(tmp_path, "tokens", Settings(4)),
        open_stage(tmp_path, "tokens", Settings(), upstream=["a"]),
        open_stage(tmp_path, "tokens", Settings(), version=2),
        open_stage(tmp_path, "search", Settings()),
    ]
    assert len({first, *others}) == 5
    (first / "stage.json").write_text(json.dumps({"config": "edited"}))
    with pytest.raises(StaleStageError, match="another configuration"):
        open_stage(tmp_path, "tokens", Settings())


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
    stage = open_stage(tmp_path, "tokens", {"a": 1})
    target = stage / "clip" / "000000.safetensors"
    assert subprocess.run([sys.executable, "-c", KILLED, str(target)], check=False).returncode < 0
    assert len(list(stage.rglob("*.partial"))) == 1
    assert open_stage(tmp_path, "tokens", {"a": 1}) == stage
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
