"""Tokens within a number of bytes: what is dropped, what is not, and that nothing breaks by it."""

from __future__ import annotations

import argparse
import math
import os
import subprocess
import sys

import pytest

from tests.clips import BLUE, FRAMES, RED, clip_json, frame, query_set, write_annotations
from tests.job import make_answerer, make_runner
from tests.synthetic import write_video
from vq2d.commands.parsers import COMMANDS, byte_count
from vq2d.commands.run import LARGE_BYTES, most_token_bytes
from vq2d.job.kept_tokens import KeptTokens
from vq2d.localize.presets import PRESETS


def clips_in(folder):
    return sorted(path.name for path in folder.glob("[!.]*") if path.is_dir())


def use(kept, clip, size=100, at=0):
    """Have a clip's tokens made at a time."""
    with kept.using(clip) as folder:
        (folder / "000000.safetensors").write_bytes(bytes(size))
    if folder.exists():
        os.utime(folder, (at, at))


def test_the_clips_not_used_for_longest_go_first(tmp_path):
    everything = KeptTokens(tmp_path, math.inf)
    for at, clip in enumerate("cab"):
        use(everything, clip, at=at)
    assert clips_in(tmp_path) == ["a", "b", "c"]
    use(KeptTokens(tmp_path, 300), "d", at=9)
    assert clips_in(tmp_path) == ["a", "b", "d"]
    os.utime(tmp_path / "a", (20, 20))
    use(KeptTokens(tmp_path, 250), "e", at=30)
    assert clips_in(tmp_path) == ["a", "e"]


def test_without_room_nothing_of_a_finished_clip_stays(tmp_path):
    kept = KeptTokens(tmp_path, 0)
    with kept.using("a") as folder:
        (folder / "000000.safetensors").write_bytes(bytes(9))
        use(kept, "b")
        assert clips_in(tmp_path) == ["a"]
    assert clips_in(tmp_path) == []
    assert not list(tmp_path.glob(".*.dropped"))


HOLD = """
import sys
from pathlib import Path
from vq2d.job.kept_tokens import KeptTokens
with KeptTokens(Path(sys.argv[1]), float("inf")).using("a"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_what_another_process_uses_stays_until_it_ends_or_is_killed(tmp_path):
    use(KeptTokens(tmp_path, math.inf), "a")
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"held\n"
        use(KeptTokens(tmp_path, 0), "b")
        assert clips_in(tmp_path) == ["a"]
        other.kill()
    use(KeptTokens(tmp_path, 0), "b")
    assert clips_in(tmp_path) == []


def test_what_a_killed_process_did_not_finish_dropping_goes(tmp_path):
    left = tmp_path / ".a.machine-1.dropped"
    left.mkdir()
    use(KeptTokens(tmp_path, 1000), "b")
    assert not left.exists()
    assert clips_in(tmp_path) == ["b"]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ego")
    sets = {"1": query_set(RED, 4, 28, (15, 21)), "2": query_set(BLUE, 2, 28, (9, 14))}
    write_annotations(folder, [clip_json("one", sets), clip_json("two", sets)])
    (folder / "v2/clips").mkdir()
    for name, shade in (("one", 90), ("two", 70)):
        images = [frame(i, shade) for i in range(FRAMES)]
        write_video(folder / f"v2/clips/{name}.mp4", images)
    return folder


def test_a_run_that_drops_tokens_answers_alike(root, tmp_path):
    def answers(name, most_bytes):
        answerer = make_answerer(root, tmp_path / name)
        answerer.kept = KeptTokens(answerer.tokens_dir, most_bytes)
        report = make_runner(root, tmp_path / name, answerer=answerer).run()
        assert not report.troubles
        files = sorted(answerer.answers_dir.rglob("*.json"))
        return report, answerer, [f.read_bytes() for f in files]

    kept, keeping, expected = answers("keep", math.inf)
    dropped, dropping, found = answers("drop", 0)
    assert found == expected
    assert len(clips_in(keeping.tokens_dir)) == 2
    assert clips_in(dropping.tokens_dir) == []
    assert dropped.images_encoded == kept.images_encoded  # within a run nothing is made twice


@pytest.mark.parametrize(
    ("preset", "options", "expected"),
    [
        ("embedded", [], math.inf),
        ("paper", [], LARGE_BYTES),
        ("release", [], LARGE_BYTES),
        ("release", ["--keep-tokens"], math.inf),
        ("embedded", ["--drop-tokens"], 0),
        ("embedded", ["--max-cache", "1.5TB"], 1.5e12),
    ],
)
def test_the_preset_decides_what_is_not_said(preset, options, expected):
    args = COMMANDS["run"].parser("vq2d run").parse_args(options)
    assert most_token_bytes(args, PRESETS[preset]) == expected


@pytest.mark.parametrize("text", ["200", "-1GB", "1.GB", "GB", "1 PB"])
def test_a_size_needs_a_unit(text):
    with pytest.raises(argparse.ArgumentTypeError, match="such as 200GB"):
        byte_count(text)


def test_one_of_the_three_is_enough(capsys):
    with pytest.raises(SystemExit):
        COMMANDS["run"].parser("vq2d run").parse_args(["--keep-tokens", "--max-cache", "1GB"])
    assert "not allowed with" in capsys.readouterr().err
