"""The pre-flight check: exit codes, table, costs, the command that fetches the rest."""

from __future__ import annotations

import json
import shlex

import pytest

from tests.places import SHARED
from tests.synthetic import write_numbered
from tests.tiny import tiny_ren
from vq2d.commands import check_data
from vq2d.commands.check_data import main
from vq2d.commands.shared import SAMPLE
from vq2d.job import estimate as cost
from vq2d.localize.encode import EncodeConfig, TokenEncoder
from vq2d.localize.tokens import TokenConfig, clip_tokens
from vq2d.video.frames import open_video

FIXED = ["--preset", "embedded", "--seconds-per-crop", "0.5"]
BOX = {"x": 1, "y": 2, "width": 9, "height": 9, "original_width": 128, "original_height": 64}


def raw_clip(uid, start=0, end=60, query_frames=(9,)):
    """A clip with a query that is asked at each of the frames."""
    sets = {
        str(i): {
            "is_valid": True,
            "query_frame": frame,
            "visual_crop": BOX | {"frame_number": 0},
        }
        for i, frame in enumerate(query_frames)
    }
    return {
        "clip_uid": uid,
        "video_start_frame": start,
        "video_end_frame": end,
        "clip_fps": 5.0,
        "annotations": [{"query_sets": sets}],
    }


@pytest.fixture
def root(tmp_path):
    """Clip a has its own file, b lies in its video, c is missing, d is damaged.

    Two clips have no uid; one of them and e are missing, but nothing is asked in e.
    """
    for folder in ("annotations", "clips", "full_scale"):
        (tmp_path / "v2" / folder).mkdir(parents=True)
    videos = [
        {"video_uid": "V", "clips": [raw_clip("a"), raw_clip("b", 30, 90), raw_clip(None, 6, 66)]},
        {"video_uid": "W", "clips": [raw_clip("c"), raw_clip("d"), raw_clip(None, 30, 60)]},
        {"video_uid": "X", "clips": [raw_clip("e", query_frames=())]},
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
    assert main(["--data", str(root), "--write-uids", str(uids), *FIXED]) == 1
    text = capsys.readouterr().out
    table = rows(text)
    assert table["a"] == ["a", "1", "clip", "5.00", "128x64", "10"]
    short = ["3", "frames", "short", "of", "the", "annotation"]
    assert table["b"] == ["b", "1", "full_scale", "30.00", "128x64", "7", *short]
    assert table["c"] == ["c", "1", "missing", "-", "-", "10"]
    assert table["d"][2] == "damaged"
    assert "d.mp4 cannot be read as video" in text
    assert uids.read_text() == "c\nd\n"
    flags = f"--datasets clips --video_uid_file {uids} --version v2 -y".split()
    lines = text.splitlines()
    at = lines.index("fetch 2 clips:")
    assert shlex.split(lines[at + 1]) == ["ego4d", f"--output_directory={root}", *flags]


def test_clips_without_uid_are_counted_and_their_videos_named(root, capsys):
    assert main(["--data", str(root), *FIXED]) == 1
    text = capsys.readouterr().out
    assert "null clip uids   2, to be cut from their full-scale videos; 1 of them cannot be" in text
    assert "can only be cut from its full-scale video" in text
    lines = text.splitlines()
    assert lines[-2] == "fetch 1 whole videos, for 1 clips without a uid:"
    flags = ["--datasets", "full_scale", "--video_uids", "W", "--version", "v2", "-y"]
    assert shlex.split(lines[-1]) == ["ego4d", f"--output_directory={root}", *flags]
    for uid in "cd":
        write_numbered(root / f"v2/clips/{uid}.mp4", 10, 5)
    assert main(["--data", str(root), *FIXED]) == 1  # as run_vq2d: the null clip's queries fail
    assert "fetch 2 clips" not in capsys.readouterr().out
    write_numbered(root / "v2/full_scale/W.mp4", 60, 30)
    assert main(["--data", str(root), *FIXED]) == 0  # nothing is asked in e
    assert "every clip that a run searches can be read" in capsys.readouterr().out


def test_a_video_that_ends_before_the_clip_is_damaged(root, capsys):
    write_numbered(root / "v2/full_scale/W.mp4", 20, 30)
    assert main(["--data", str(root), *FIXED]) == 1
    text = capsys.readouterr().out
    assert "W.mp4 ends before the clip begins" in text
    assert "--datasets full_scale --video_uids W " in text


def test_without_uid_file_the_benchmark_is_fetched(root, capsys):
    assert main(["--data", str(root), *FIXED]) == 1
    assert "--datasets clips --benchmarks VQ --version v2" in capsys.readouterr().out


def test_complete_data_and_limit(root, capsys):
    assert main(["--data", str(root), "--limit", "2", *FIXED]) == 0
    assert "every clip that a run searches can be read" in capsys.readouterr().out


def cost_rows(root, capsys, *arguments):
    main(["--data", str(root), *arguments])
    text = capsys.readouterr().out
    names = ("frames searched", "frames encoded", "crops", "token cache", "encoding")
    return [
        next(line for line in text.splitlines() if line.startswith(name))[len("frames searched") :]
        for name in names
    ]


def test_costs_follow_the_configuration(root, capsys):
    searched, encoded, crops, cache, hours = cost_rows(root, capsys, "--limit", "1", *FIXED)
    assert searched.split()[0] == "9"  # of 10; the last query is asked at frame 9
    assert encoded.split()[0] == "5"  # every second, to the end of the file of 64
    assert crops.split()[:3] == ["25", "(5", "per"]
    assert "(144 tokens of 104 bytes per crop)" in cache
    assert hours.split()[:3] == ["0.00", "h", "(0.5"]

    changes = ["tokens.frame_stride=1", "tokens.chunk_frames=4", "tokens.crop_factors=(3,)"]
    more = [*changes, "grid_size=20", "encode.space=ren+patch"]
    flags = [part for change in more for part in ("--set", change)]
    speed = ["--preset", "embedded", "--seconds-per-crop", "400"]
    searched, encoded, crops, cache, hours = cost_rows(root, capsys, "--limit", "1", *flags, *speed)
    assert encoded.split()[0] == "10"
    assert crops.split()[0] == "90"
    assert "(400 tokens of 1,764 bytes per crop)" in cache
    assert cache.split()[0] == f"{90 * 400 * 1764 / 1e9:.2f}"
    assert hours.split()[:2] == ["10.00", "h"]


def test_presets_that_merge_tokens_give_a_bound(root, capsys):
    paper = ["--preset", "paper", "--limit", "1", "--seconds-per-crop", "1"]
    assert "(at most 1,024 tokens of 2,060 bytes" in cost_rows(root, capsys, *paper)[3]
    merged = cost_rows(root, capsys, *paper, "--tokens-per-crop", "40")[3]
    assert "(40 tokens of 2,060 bytes" in merged


def test_the_speed_of_a_gpu_is_taken_from_its_check(root, capsys, tmp_path):
    file = tmp_path / "figures.json"
    figures = {"crops_per_s": 0.25, "machine": "Some GPU", "networks": "torch, bfloat16, on cuda"}
    file.write_text(json.dumps({**figures, "sizes": {"encoder": "dinov2-vitl14"}}))
    paper = ["--preset", "paper", "--limit", "1", "--gpu-figures", str(file)]
    _, _, crops, _, hours = cost_rows(root, capsys, *paper)
    assert hours.split()[0] == f"{4 * int(crops.split()[0]) / 3600:.2f}"
    assert f"(4 s per crop, {file}: Some GPU, torch, bfloat16, on cuda)" in hours
    other = ["--preset", "embedded", "--limit", "1", "--gpu-figures", str(file)]
    assert main(["--data", str(root), *other]) == 2
    assert "measured with dinov2-vitl14, and this preset has embedded" in capsys.readouterr().err
    file.write_text("{}")
    assert main(["--data", str(root), *paper]) == 2
    assert "holds no figures of a GPU" in capsys.readouterr().err


def test_the_speed_is_unknown_without_weights(root, capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("REN_CACHE", str(tmp_path / "nothing"))
    hours = cost_rows(root, capsys, "--preset", "paper", "--limit", "1")[4]
    assert hours.split()[0] == "unknown"
    assert "or give --seconds-per-crop" in hours


def test_the_speed_is_measured(monkeypatch, root, capsys):
    made = []

    def build(config, compute):
        made.append(TokenEncoder(tiny_ren(), config.encode))
        return made[-1]

    monkeypatch.setattr(check_data, "build_token_encoder", build)
    hours = cost_rows(root, capsys, "--preset", "embedded", "--limit", "1", "--device", "cpu")[4]
    assert "s per crop, measured on this machine, " in hours
    assert made[0].images_encoded == 3 * 20  # four frames of five crops; once to warm up


def test_the_predicted_crops_are_those_that_a_run_encodes(tmp_path):
    path = write_numbered(tmp_path / "x.mp4", 41, 5)
    frames = open_video(path)
    for config in (
        TokenConfig(frame_stride=2, chunk_frames=8, crop_factors=(1, 2)),
        TokenConfig(frame_stride=3, chunk_frames=9, crop_factors=(1,)),
        TokenConfig(),
    ):
        for end in (0, 1, 8, 9, 30, 41, 99):
            encoder = TokenEncoder(tiny_ren(), EncodeConfig())
            folder = tmp_path / f"{config.chunk_frames}-{end}"
            clip_tokens(frames, encoder, config, directory=folder, num_frames=end)
            predicted = cost.encoded_frames(cost.SearchedClip(len(frames), end), config)
            assert encoder.images_encoded == predicted * cost.crops_per_frame(config)


def test_long_lists_show_only_what_needs_attention(root, capsys, monkeypatch):
    monkeypatch.setattr("vq2d.commands.check_data.ROWS_SHOWN", 2)
    main(["--data", str(root), *FIXED])
    assert "a" not in rows(capsys.readouterr().out)
    main(["--data", str(root), "--all", *FIXED])
    assert "a" in rows(capsys.readouterr().out)


def test_no_annotations(tmp_path, capsys):
    assert main(["--data", str(tmp_path), "--split", "test"]) == 1
    error = capsys.readouterr().err
    assert "vq_test_unannotated.json is missing; fetch it with `ego4d " in error


def test_the_sample_says_which_splits_it_has(capsys):
    assert main(["--data", str(SAMPLE), "--split", "train"]) == 2
    error = capsys.readouterr().err
    assert "the embedded sample has only the splits val and test" in error
    assert "ego4d " not in error


def test_wrong_settings_are_usage_errors(root, capsys):
    assert main(["--data", str(root), "--preset", "embedded", "--set", "search.k=1"]) == 2
    assert main(["--data", str(root), "--device", "banana"]) == 2
    assert "--device banana cannot be used" in capsys.readouterr().err


def test_usage():
    with pytest.raises(SystemExit) as caught:
        main([])
    assert caught.value.code == 2


@pytest.mark.data
@pytest.mark.skipif(not (SHARED / "data").is_dir(), reason="needs ../shared/data")
@pytest.mark.parametrize(("name", "frames"), [("realvq_dev", 947), ("synvq_dev", 840)])
@pytest.mark.parametrize("split", ["val", "test"])
def test_development_data(name, frames, split, capsys):
    arguments = ["--data", str(SHARED / "data" / name), "--split", split, *FIXED]
    assert main([*arguments, "--set", "tokens.frame_stride=1"]) == 0
    printed = capsys.readouterr().out
    encoded = next(line for line in printed.splitlines() if line.startswith("frames encoded"))
    assert 0 < int(encoded.split()[2].replace(",", "")) <= frames
