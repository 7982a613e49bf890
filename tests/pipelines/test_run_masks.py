"""The measure of promptable masks runs on tiny sets; found points come from a run's answers."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from pipelines import run_masks
from pipelines.shared import masks as shared_masks
from pipelines.shared.masks import found_prompts, read_things, segmenter_method
from ren_core.errors import DataError
from ren_core.mask_model import MaskModel
from ren_core.training.held_out import held_out_names
from tests.clips import FRAMES, RED, H, W, clip_json, frame, place, query_set, write_annotations
from tests.eval.reid.coloured_videos import RED as PAINT
from tests.eval.reid.coloured_videos import picture, write_video
from tests.job import CONFIG, make_runner, tiny_localizer
from tests.mask_cases import tiny_head
from tests.synthetic import write_video as encode_video
from tests.tiny import ColourSegmenter, TinyEncoder
from vq2d.masking.region import RegionConfig, RegionSegmenter

POLYGON = "0 0.1 0.2 0.6 0.2 0.6 0.7 0.1 0.7\n"  # 50 by 40 px of 100 by 80
SMALL = "0 0.7 0.8 0.8 0.8 0.8 0.9 0.7 0.9\n"


def write_davis(data):
    pictures = [picture((PAINT, 8, 8 * i)) for i in range(7)]
    boxes = [(8, 8 * i) for i in range(7)]
    write_video(data / "eval/davis_dev", "red", pictures, [*boxes[:5], None, boxes[6]])


def write_coco(data):
    """Two pictures and those held out, with one instance each; the last has another, small one."""
    root = data / "train/coco128_seg"
    for kind in ("images", "labels"):
        (root / kind / "train2017").mkdir(parents=True)
    names = ["000000000001", "000000000002", *sorted(held_out_names())]
    for name in names:
        image = np.full((80, 100, 3), 90, np.uint8)
        image[16:56, 10:60] = (20, 20, 200)
        cv2.imwrite(str(root / f"images/train2017/{name}.jpg"), image)
        text = POLYGON + SMALL * (name == names[-1])
        (root / f"labels/train2017/{name}.txt").write_text(text)


def write_clips(data):
    root = data / "synvq_dev"
    root.mkdir(parents=True)
    write_annotations(root, [clip_json("one", {"1": query_set(RED, 4, 28, (15, 21))})])
    (root / "v2/clips").mkdir()
    encode_video(root / "v2/clips/one.mp4", [frame(i) for i in range(FRAMES)])
    return root


def red_is_salient(images, side):
    return [((i[..., 0] > 150) & (i[..., 1] < 90)).astype(np.float32) for i in images]


@pytest.fixture
def measure(tmp_path, monkeypatch):
    """The command on the data of ``tmp_path``, with tiny models; its exit code."""

    def regions(ren, saliency):
        return RegionSegmenter(ren, saliency, RegionConfig(similarity=0.6))

    monkeypatch.setattr(run_masks, "build_localizer", lambda *_: tiny_localizer(CONFIG))
    monkeypatch.setattr(shared_masks, "Saliency", lambda engine: red_is_salient)
    monkeypatch.setattr(shared_masks, "RegionSegmenter", regions)
    exact = ("--engine", "torch", "--dtype", "float32", "--data", str(tmp_path), "--heads")
    return lambda *options: run_masks.main([*exact, *options])


def test_every_method_answers_every_prompt_that_it_takes(measure, tmp_path, capsys):
    write_davis(tmp_path)
    out = tmp_path / "out/masks.json"
    assert measure("--sets", "davis_dev", "--out", str(out), "--worst", "2") == 0
    result = json.loads(out.read_text())
    figures = {(f["prompt"], f["method"]): f for f in result["figures"]}
    by_box, by_point = ("filled", "u2netp", "grabcut", "gated"), ("patches", "u2netp")
    assert set(figures) == {
        *((kind, method) for kind in ("box", "loose") for method in by_box),
        *((kind, method) for kind in ("point", "edge") for method in by_point),
    }
    assert all(f["things"] == 1 for f in figures.values())  # frame 0; frame 5 has no object
    assert figures["box", "filled"]["mask_iou"] == 1
    assert 0.5 < figures["loose", "filled"]["mask_iou"] < 1
    assert figures["point", "u2netp"]["mask_iou"] > 0.9
    assert figures["box", "u2netp"]["expected_iou"] is None
    assert [row["name"] for row in result["rows"]] == ["red/00000"] * len(figures)
    assert result["config"]["masking"] == "head"
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 1 + 1 + len(figures)
    sheets = sorted(path.name for path in out.parent.glob("*.png"))
    kinds = ("box", "edge", "loose", "point")
    assert sheets == [f"masks_davis_dev_{kind}.png" for kind in kinds]
    assert cv2.imread(str(out.parent / sheets[0])).shape[1] == 2 * 206


def test_heads_say_what_they_expect(measure, tmp_path, monkeypatch):
    write_davis(tmp_path)
    encoder, out = TinyEncoder(), tmp_path / "masks.json"
    model = MaskModel(encoder, tiny_head(encoder.level_widths, seed=1))
    monkeypatch.setattr(shared_masks.MaskModel, "from_pretrained", lambda head, compute: model)
    options = ("--sets", "davis_dev", "--methods", "filled", "--out", str(out))
    assert measure("a/one.safetensors", "b/two.safetensors", *options) == 0
    figures = {(f["prompt"], f["method"]): f for f in json.loads(out.read_text())["figures"]}
    assert {m for k, m in figures if k == "point"} == {"head one", "head two"}
    assert 0 <= figures["box", "head one"]["expected_iou"] <= 1
    assert figures["box", "head two"]["expected_error"] >= 0


def test_heads_are_asked_with_the_query_where_there_is_one(measure, tmp_path, monkeypatch):
    write_clips(tmp_path)
    encoder, out = TinyEncoder(), tmp_path / "masks.json"
    model, known = MaskModel(encoder, tiny_head(encoder.level_widths, seed=1)), []
    monkeypatch.setattr(shared_masks.MaskModel, "from_pretrained", lambda head, compute: model)
    draw = model.draw
    monkeypatch.setattr(
        model, "draw", lambda images, prompts: known.extend(prompts) or draw(images, prompts)
    )
    options = ("--sets", "synvq_dev", "--methods", "filled", "--out", str(out))
    assert measure("one.safetensors", *options) == 0
    figures = {(f["prompt"], f["method"]): f for f in json.loads(out.read_text())["figures"]}
    heads = {"head one", "head one, query"}
    assert {m for k, m in figures if k == "point"} == heads
    assert {m for k, m in figures if k == "box"} == {"head one", "filled"}
    given = [prompt.reference for prompt in known if prompt.reference is not None]
    assert 0 < len(given) < len(known)
    (red,) = {round(float(r.shares.mean()), 3) for r in given}  # one query, always the same
    assert 0 < red < 1


def test_only_pictures_held_out_are_measured_and_small_things_are_left_out(measure, tmp_path):
    write_coco(tmp_path)
    things = read_things("coco_held", tmp_path)
    assert [thing.group for thing in things] == sorted(held_out_names())
    assert things[-1].mask.sum() == pytest.approx(50 * 40, abs=100)
    assert things[0].box_xyxy == pytest.approx([10, 16, 60, 56], abs=1)
    out = tmp_path / "masks.json"
    options = ("--sets", "coco_held", "--methods", "filled", "--limit", "3", "--out", str(out))
    assert measure(*options, "--seed", "0") == 0
    first = json.loads(out.read_text())["rows"]
    assert measure(*options, "--seed", "1") == 0
    other = json.loads(out.read_text())["rows"]
    assert [row["name"] for row in first] == [thing.name for thing in things[:3]] * 2
    assert first[:3] == other[:3]  # exact boxes
    assert first[3:] != other[3:]  # loose ones


def test_found_points_are_the_seeds_of_a_run(measure, tmp_path, capsys):
    root = write_clips(tmp_path)
    things = read_things("synvq_dev", tmp_path)
    assert [thing.name for thing in things] == [f"v0-c0-a0-q1/{i}" for i in range(3)]
    assert [thing.box_xyxy.tolist() for thing in things] == [
        place(RED, i).tolist() for i in (16, 17, 19)
    ]
    runner = make_runner(root, tmp_path / "cache")
    (answer,) = runner.run().answers
    (prompt,) = found_prompts(root, runner.answers_dir)
    assert prompt.point_xy == answer.found.seed.point_xy
    assert prompt.thing.box_xyxy.tolist() == place(RED, answer.found.seed.frame_idx).tolist()
    assert prompt.thing.image.shape == (H, W, 3)
    out = tmp_path / "masks.json"
    options = ("--sets", "synvq_dev", "--methods", "u2netp", "--out", str(out))
    assert measure(*options, "--found", str(runner.answers_dir)) == 0
    found = json.loads(out.read_text())["figures"][-1]
    assert (found["prompt"], found["things"]) == ("found", 1)
    assert found["box_iou"] > 0.7
    assert found["mask_iou"] is None
    assert measure(*options, "--found", str(tmp_path)) == 1
    assert "has no answers to synvq_dev" in capsys.readouterr().err


def test_a_segmenters_score_is_its_expected_iou_only_if_it_says_so():
    image = picture((PAINT, 8, 8))
    box = np.array([8, 8, 24, 24], np.float32)
    silent = segmenter_method("x", ColourSegmenter())
    sure = segmenter_method("x", ColourSegmenter(), expects=True)
    for method, wanted in ((silent, None), (sure, 1.0)):
        (by_box,) = method.from_boxes([image], [box])
        (by_point,) = method.from_points([image], [(16.0, 16.0)])
        assert by_box.expected_iou == by_point.expected_iou == wanted
        assert by_box.box_xyxy.tolist() == by_point.box_xyxy.tolist() == box.tolist()
    outside = np.array([-9, -9, 0, 0], np.float32)
    assert sure.from_boxes([image], [outside]) == [None]


def test_options_that_do_not_go_together_are_usage_errors(measure, tmp_path, capsys):
    assert measure("--worst", "2") == 2
    assert measure("--found", str(tmp_path), "--sets", "davis_dev") == 2
    lines = capsys.readouterr().err.splitlines()
    for line, wanted in zip(lines, ("--out", "--found needs"), strict=True):
        assert wanted in line


def test_missing_sets_are_sentences(measure, tmp_path, capsys):
    assert measure("--sets", "davis_dev") == 1
    assert "--data" in capsys.readouterr().err
    write_video(tmp_path / "eval/davis_dev", "red", [picture()], [None])
    with pytest.raises(DataError, match="has no things"):
        read_things("davis_dev", tmp_path)
