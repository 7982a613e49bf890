"""Prompts drawn from masks, the losses, and a training from pictures to a file."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from ren_core.commands import train_masks
from ren_core.configuration import changed
from ren_core.executor.here import InProcess
from ren_core.geometry import box_iou, mask_to_box
from ren_core.mask_head import load_mask_head, read_mask_config
from ren_core.mask_model import MaskModel
from ren_core.mask_prompts import MaskPrompt
from ren_core.training.masks import run as run_module
from ren_core.training.masks.batches import PromptDraw, draw_prompt, mirrored, rough_mask
from ren_core.training.masks.objective import mask_iou
from ren_core.training.masks.run import MaskJob, MaskRecipe, run_mask_training
from ren_core.training.masks.windows import WindowSample
from ren_core.training.rle_store import ShardWriter, encode_rle, extract_regions
from ren_core.training.trainer import Worker
from tests.mask_cases import Squares, tiny_head
from tests.tiny import TinyEncoder
from tests.training_cases import write_picture

CPU = Worker(torch.device("cpu"))


def disc(size=64, radius=14, centre=(30, 36)):
    y, x = np.mgrid[:size, :size]
    return ((x - centre[0]) ** 2 + (y - centre[1]) ** 2 <= radius**2).astype(np.float32)


@pytest.mark.parametrize("kind", ["box", "point", "both", "rough"])
def test_a_prompt_says_of_the_thing_what_its_kind_knows(kind):
    weights = {name: float(name == kind) for name in ("box", "point", "both", "rough")}
    share, rng = disc(), np.random.default_rng(0)
    true_box = mask_to_box(share > 0.5)
    for _ in range(50):
        prompt = draw_prompt(share, PromptDraw(**weights), rng)
        assert (prompt.box_xyxy is not None) == (kind in ("box", "both"))
        assert (prompt.mask is not None) == (kind == "rough")
        if prompt.points_xy is not None:
            x, y = prompt.points_xy.astype(int).T
            assert share[y, x].min() >= 0.5
        if prompt.box_xyxy is not None:
            assert float(box_iou(prompt.box_xyxy, true_box)) > 0.5
    assert kind not in ("point", "both") or prompt.points_xy is not None


def test_boxes_are_loose_outwards_by_no_more_than_told():
    draw, rng = PromptDraw(box=1, point=0, both=0, rough=0, loose=0.2), np.random.default_rng(0)
    box = mask_to_box(disc() > 0.5)
    side = box[2] - box[0]
    drawn = np.stack([draw_prompt(disc(), draw, rng).box_xyxy for _ in range(200)])
    outwards = (drawn - box) * [-1, -1, 1, 1] / side
    assert outwards.max() <= 0.2
    assert outwards.min() >= -0.05
    assert outwards.max() > 0.15


def test_rough_masks_are_near_the_thing_and_rarely_equal():
    share, rng = disc(), np.random.default_rng(0)
    ious = []
    for _ in range(60):
        rough = rough_mask(share, rng) > 0.5
        ious.append((rough & (share > 0.5)).sum() / (rough | (share > 0.5)).sum())
    assert np.median(ious) > 0.5
    assert np.mean(np.array(ious) < 0.95) > 0.8


def test_a_mirrored_window_has_its_thing_where_its_features_are():
    columns = torch.arange(4.0).expand(1, 4, 4)
    shares = np.tile(np.arange(4, dtype=np.uint8), (4, 1))
    sample = WindowSample((columns, columns + 10, columns + 20), shares, columns + 30)
    other = mirrored(sample)
    for more, level in zip((0, 10, 20), other.levels, strict=True):
        assert torch.equal(level[0] - more, torch.from_numpy(other.shares).float())
    assert other.shares[0].tolist() == [3, 2, 1, 0]
    assert torch.equal(other.reference, sample.reference)


def test_iou_of_drawn_masks_by_hand():
    shares = torch.zeros(1, 4, 4)
    shares[0, :2] = 1
    logits = torch.full((1, 3, 4, 4), -1.0)
    logits[0, 0, :2] = 1
    logits[0, 1, 1:3] = 1
    assert mask_iou(logits, shares).tolist() == [[1.0, pytest.approx(1 / 3), 0.0]]


@pytest.fixture
def small(monkeypatch):
    def encoder(name, *, for_levels):
        return TinyEncoder()

    monkeypatch.setattr(run_module, "build_encoder", encoder)
    monkeypatch.setattr(run_module, "MaskHead", lambda shape: tiny_head(shape.levels).train())
    return changed(
        MaskRecipe(encoder="tiny", batch=8),
        {
            "train.steps": 90,
            "train.warmup": 10,
            "train.learning_rate": 5e-3,
            "train.precision": "fp32",
            "train.validate_every": 90,
            "train.checkpoint_every": 90,
        },
    )


def job(recipe, root, **changes):
    root.mkdir(exist_ok=True)
    values = {
        "recipe": recipe,
        "sources": {"squares": Squares(root, 24)},
        "out": root / "out",
        "target": root / "head.safetensors",
    }
    return MaskJob(**{**values, **changes})


def test_a_head_learns_squares_from_a_box_and_from_a_point(small, tmp_path, one_thread):
    run_mask_training(job(small, tmp_path), CPU)
    encoder = TinyEncoder()
    head = load_mask_head(tmp_path / "head.safetensors", expected_levels=encoder.level_widths)
    model = MaskModel(encoder, head)
    images, prompts, truths = [], [], []
    for index in range(100, 110):
        found = Squares(tmp_path, 0).read(index)
        box = mask_to_box(found.masks[0])
        middle = ((box[:2] + box[2:]) / 2)[None]
        for prompt in (MaskPrompt(box), MaskPrompt(points_xy=middle)):
            images.append(found.image)
            prompts.append(prompt)
            truths.append(found.masks[0])
    ious, errors = [], []
    for drawn, truth in zip(model.draw(images, prompts), truths, strict=True):
        mask = drawn.mask()
        ious.append((mask & truth).sum() / (mask | truth).sum())
        errors.append(abs(ious[-1] - drawn.expected_iou[0]))
        assert (np.diff(drawn.expected_iou) <= 0).all()
    assert np.mean(ious) > 0.75
    assert np.mean(errors) < 0.2


def test_a_training_that_was_stopped_ends_with_the_same_bytes(small, tmp_path, one_thread):
    short = changed(small, {"train.steps": 12, "train.checkpoint_every": 5})
    whole = job(short, tmp_path / "a")
    run_mask_training(whole, CPU)
    halves = job(short, tmp_path / "b")
    run_mask_training(job(short, tmp_path / "b", stop_after=7), CPU)
    run_mask_training(halves, CPU)
    first, second = load_file(whole.target), load_file(halves.target)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_the_command_trains_on_a_store_of_masks(small, tmp_path, one_thread):
    for index in range(20):
        found = Squares(tmp_path, 0).read(index)
        write_picture(tmp_path / f"im/{index:02d}.png")
        cv2.imwrite(str(tmp_path / f"im/{index:02d}.png"), found.image[..., ::-1])

    def red_and_blue(image):
        return [encode_rle(image[..., channel] > 150) for channel in (0, 2)]

    pictures = sorted((tmp_path / "im").glob("*.png"))
    store = extract_regions(
        pictures, InProcess(ShardWriter(red_and_blue)), {}, out=tmp_path, shard_size=30
    )
    command = ["--out", str(tmp_path / "out"), "--regions", str(store), "--precision", "fp32"]
    assert train_masks.main([*command, "--steps", "3", "--seed", "7"]) == 0
    path = tmp_path / "out/mask_head.safetensors"
    head = load_mask_head(path, expected_levels=TinyEncoder().level_widths)
    assert head.shape.dim == 32
    recipe = read_mask_config(path)["recipe"]
    assert (recipe["train"]["seed"], recipe["train"]["steps"], recipe["train"]["warmup"]) == (
        7,
        3,
        0,
    )
    assert read_mask_config(path)["pictures"] == {"regions": 20}


def test_the_command_refuses_to_train_on_nothing(tmp_path, capsys):
    assert train_masks.main(["--out", str(tmp_path)]) == 2
    assert "give at least one of --coco128" in capsys.readouterr().err
