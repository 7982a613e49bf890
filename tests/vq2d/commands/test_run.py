"""The command lines of the main job with the embedded models, on a clip of two seconds."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from ren_core import weights
from ren_core.commands import regions as show_regions
from ren_core.errors import DataError
from tests.clips import clip_json, json_box
from tests.synthetic import write_video
from vq2d.commands import localize
from vq2d.commands import run as run_vq2d


def embedded_weights_are_missing() -> bool:
    try:
        for name in weights.EMBEDDED:
            weights.path(name)
    except DataError:
        return True
    return False


pytestmark = [
    pytest.mark.weights,
    pytest.mark.skipif(embedded_weights_are_missing(), reason="run `make weights` first"),
]

W, H = 96, 64
SHOWN = [(0, 3), (6, 9)]
QUICK = [
    "--set",
    "tokens.crop_factors=(1,)",
    "--set",
    "search.top_k=2",
    "--set",
    "refine.crop_factors=(2.0,)",
    "--set",
    "query.crop_factors=(2.0,)",
]


def box(i):
    return np.array([30 + i, 20, 54 + i, 44], np.float32)


def frame(i):
    rng = np.random.default_rng(1)
    image = cv2.resize(rng.integers(60, 120, (8, 12, 3), np.uint8), (W, H))
    if any(a <= i < b for a, b in SHOWN):
        x1, y1, x2, y2 = box(i).astype(int)
        image[y1:y2, x1:x2] = (220, 40, 30)
        image[y1 + 6 : y2 - 6, x1 + 6 : x2 - 6] = (240, 230, 60)
    return image


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ego")
    query = {
        "is_valid": True,
        "errors": [],
        "warnings": [],
        "query_frame": 11,
        "query_video_frame": 66,
        "object_title": "red <box>",
        "visual_crop": json_box(box(1), 1),
        "response_track": [json_box(box(i), i) for i in range(6, 9)],
    }
    for entry in (query["visual_crop"], *query["response_track"]):
        entry["original_width"], entry["original_height"] = W, H
    document = {
        "version": "1",
        "date": "220517",
        "description": "VQ",
        "manifest": "",
        "videos": [
            {"video_uid": "video", "split": "val", "clips": [clip_json("one", {"1": query})]}
        ],
    }
    (folder / "v2/annotations").mkdir(parents=True)
    (folder / "v2/annotations/vq_val.json").write_text(json.dumps(document))
    (folder / "v2/clips").mkdir()
    write_video(folder / "v2/clips/one.mp4", [frame(i) for i in range(12)])
    return folder


def test_run_vq2d_and_again(root, tmp_path, capsys):
    arguments = [
        "--data",
        str(root),
        "--out",
        str(tmp_path / "out"),
        "--cache",
        str(tmp_path / "cache"),
        "--preset",
        "embedded",
        *QUICK,
    ]
    assert run_vq2d.main(arguments) == 0
    printed = capsys.readouterr().out
    assert "The submission is valid: 0 errors" in printed
    assert "success" in printed
    submission = (tmp_path / "out/submission.json").read_bytes()
    sets = json.loads(submission)["results"]["videos"][0]["clips"][0]["predictions"][0]
    assert sets["query_sets"]["1"]["bboxes"]
    for name in (
        "index.html",
        "trace.json",
        "failures.json",
        "figures.json",
        "config.json",
        "media/v0-c0-a0-q1.png",
        "media/v0-c0-a0-q1.mp4",
    ):
        assert (tmp_path / "out" / name).stat().st_size > 0
    assert "red &lt;box&gt;" in (tmp_path / "out/index.html").read_text()

    assert run_vq2d.main([*arguments, "--no-videos", "--true-seeds"]) == 0
    printed = capsys.readouterr().out
    assert "; 0 images encoded" in printed
    assert "with the true box at the found frame" in printed
    with_truth = json.loads((tmp_path / "out/figures-true-seeds.json").read_text())
    assert with_truth != json.loads((tmp_path / "out/figures.json").read_text())
    assert (tmp_path / "out/submission.json").read_bytes() == submission


def test_run_vq2d_says_what_is_wrong(root, tmp_path, capsys):
    common = ["--data", str(root), "--out", str(tmp_path), "--preset", "embedded"]
    assert run_vq2d.main([*common, "--set", "search.topk=3"]) == 2
    assert "no setting is called 'search.topk'" in capsys.readouterr().err
    assert run_vq2d.main([*common, "--set", "search.top_k=many"]) == 2
    assert (
        "search.top_k must be a whole number, 1 <= search.top_k <= 10000" in capsys.readouterr().err
    )
    assert run_vq2d.main(["--data", str(tmp_path / "nowhere"), "--preset", "embedded"]) == 1
    assert "ego4d" in capsys.readouterr().err


def test_localize_by_box_and_by_picture(root, tmp_path, capsys):
    video = str(root / "v2/clips/one.mp4")
    common = ["--cache", str(tmp_path / "cache"), "--preset", "embedded", *QUICK]
    code = localize.main(
        [video, "--at", "0.2", "--box", "31,20,24,24", "--out", str(tmp_path / "a"), *common]
    )
    assert code == 0
    assert "last seen from" in capsys.readouterr().out
    assert (tmp_path / "a/index.html").exists()

    picture = tmp_path / "object.png"
    cv2.imwrite(str(picture), frame(1)[16:48, 26:60, ::-1])
    assert (
        localize.main([video, "--query", str(picture), "--out", str(tmp_path / "b"), *common]) == 0
    )
    assert json.loads((tmp_path / "b/answer.json").read_text())["track"] is not None

    assert localize.main([video, "--at", "99", "--box", "1,1,5,5", *common]) == 2
    assert "outside the video, which lasts 2.4 s" in capsys.readouterr().err
    assert localize.main([video, "--at", "1", "--box", "1,1", *common]) == 2
    assert "four numbers" in capsys.readouterr().err


def test_show_regions(tmp_path, capsys):
    picture = tmp_path / "p.png"
    cv2.imwrite(str(picture), frame(1))
    arguments = [
        str(picture),
        "--out",
        str(tmp_path / "o"),
        "--grid-size",
        "10",
        "--points",
        "30",
        "40",
    ]
    assert show_regions.main(arguments) == 0
    drawn = cv2.imread(str(tmp_path / "o/p.png"))
    assert drawn.shape[0] > 2 * H
    assert show_regions.main([str(tmp_path / "no.png"), "--out", str(tmp_path)]) == 1
    assert "no readable image" in capsys.readouterr().err
