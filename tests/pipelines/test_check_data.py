"""The pre-flight check: exit codes, table, costs, the command that fetches the rest."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from pipelines.check_data import main
from tests.synthetic import write_numbered

SHARED = Path(__file__).resolve().parents[2].parent / "shared"


def raw_clip(uid, start=0, end=60):
    return {
        "clip_uid": uid,
        "video_start_frame": start,
        "video_end_frame": end,
        "clip_fps": 5.0,
        "annotations": [{"query_sets": {"1": {"is_valid": True, "visual_crop": None}}}],
    }


@pytest.fixture
def root(tmp_path):
    """Clip a has its own file, b lies in its video, c is missing, d is damaged, one has no uid."""
    for folder in ("annotations", "clips", "full_scale"):
        (tmp_path / "v2" / folder).mkdir(parents=True)
    videos = [
        {"video_uid": "V", "clips": [raw_clip("a"), raw_clip("b", 30, 90)]},
        {"video_uid": "W", "clips": [raw_clip("c"), raw_clip("d"), raw_clip(None)]},
    ]
    content = json.dumps({"version": "1", "videos": videos})
    (tmp_path / "v2/annotations/vq_val.json").write_text(content)
    write_numbered(tmp_path / "v2/clips/a.mp4", 10, 5)
    write_numbered(tmp_path / "v2/full_scale/V.mp4", 70, 30)
    (tmp_path / "v2/clips/d.mp4").write_text("damaged")
    return tmp_path


def rows(text):
    return {line.split()[0]: line.split() for line in text.splitlines() if line.strip()}


def test_missing_and_damaged_clips(root, capsys):
    uids = root / "uids.txt"
    assert main(["--data", str(root), "--write-uids", str(uids)]) == 1
    text = capsys.readouterr().out
    table = rows(text)
    assert table["a"] == ["a", "0", "clip", "5.00", "128x64", "10"]
    assert table["b"] == [
        "b",
        "0",
        "full_scale",
        "30.00",
        "128x64",
        "7",
        *["3", "frames", "short", "of", "the", "annotation"],
    ]
    assert table["c"] == ["c", "0", "missing", "-", "-", "10"]
    assert table["d"][2] == "damaged"
    assert "d.mp4 cannot be read as video" in text
    assert "no uid: 1" in text
    assert text.count("left out") == 5
    assert uids.read_text() == "c\nd\n"
    command = shlex.split(text.splitlines()[-1])
    flags = f"--datasets clips --video_uid_file {uids} --version v2 -y".split()
    assert command == ["ego4d", f"--output_directory={root}", *flags]


def test_without_uid_file_the_benchmark_is_fetched(root, capsys):
    assert main(["--data", str(root)]) == 1
    assert "--datasets clips --benchmarks VQ --version v2" in capsys.readouterr().out


def test_complete_data_and_limit(root, capsys):
    assert main(["--data", str(root), "--limit", "2"]) == 0
    assert "every clip of the split can be read" in capsys.readouterr().out


def test_costs_follow_the_flags(root, capsys):
    costs = ["--crops-per-frame", "3", "--tokens-per-crop", "1000", "--token-bytes", "1000000"]
    speed = ["--crops-per-second", "0.01"]
    main(["--data", str(root), "--limit", "1", *costs, *speed])
    table = rows(capsys.readouterr().out)
    assert table["frames"][-1] == "10"
    assert table["crops"][1] == "30"
    assert table["token"][2] == "30.00"
    assert table["encoding"][1] == "0.83"


def test_long_lists_show_only_what_needs_attention(root, capsys, monkeypatch):
    monkeypatch.setattr("pipelines.check_data.ROWS_SHOWN", 2)
    main(["--data", str(root)])
    assert "a" not in rows(capsys.readouterr().out)
    main(["--data", str(root), "--all"])
    assert "a" in rows(capsys.readouterr().out)


def test_no_annotations(tmp_path, capsys):
    assert main(["--data", str(tmp_path), "--split", "test"]) == 1
    error = capsys.readouterr().err
    assert "vq_test_unannotated.json is missing; fetch it with `ego4d " in error


def test_usage():
    with pytest.raises(SystemExit) as caught:
        main([])
    assert caught.value.code == 2


@pytest.mark.data
@pytest.mark.skipif(not (SHARED / "data").is_dir(), reason="needs ../shared/data")
@pytest.mark.parametrize(("name", "frames"), [("realvq_dev", 947), ("synvq_dev", 840)])
@pytest.mark.parametrize("split", ["val", "test"])
def test_development_data(name, frames, split, capsys):
    assert main(["--data", str(SHARED / "data" / name), "--split", split]) == 0
    assert rows(capsys.readouterr().out)["frames"][-1] == str(frames)
