"""Encoder and mask head together: batches, sizes, precisions, and the weights that ship."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from ren_core.encoders.catalog import build_encoder
from ren_core.engine.choice import Compute
from ren_core.errors import DataError
from ren_core.geometry import box_iou, mask_to_box
from ren_core.mask_head import MaskHead, MaskHeadShape, load_mask_head
from ren_core.mask_model import MaskModel, mask_head_path
from ren_core.mask_prompts import MaskPrompt, Reference
from tests.mask_cases import Squares, tiny_head
from tests.places import SAMPLE
from tests.tiny import TinyEncoder
from vq2d.ego4d.annotations import annotation_path, load_annotations
from vq2d.ego4d.clips import open_clip


@pytest.fixture
def model():
    encoder = TinyEncoder()
    return MaskModel(encoder, tiny_head(encoder.level_widths))


def asked(tmp_path, count):
    images, prompts = [], []
    for index in range(count):
        found = Squares(tmp_path, 0).read(index)
        images.append(found.image[: 60 + 10 * index])
        prompts.append(MaskPrompt(mask_to_box(found.masks[0])))
    return images, prompts


def test_masks_have_the_size_of_their_picture_and_fall_in_worth(model, tmp_path):
    images, prompts = asked(tmp_path, 3)
    for image, drawn in zip(images, model.draw(images, prompts), strict=True):
        assert all(drawn.mask(i).shape == image.shape[:2] for i in range(3))
        assert (np.diff(drawn.expected_iou) <= 0).all()
        assert ((drawn.expected_iou > 0) & (drawn.expected_iou < 1)).all()


def test_pictures_are_drawn_together_as_they_are_alone(model, tmp_path):
    images, prompts = asked(tmp_path, 3)
    whole = model.draw(images, prompts)
    model.max_batch = 2
    parts = model.draw(images, prompts)
    alone = model.draw(images[1:2], prompts[1:2])
    for one, other in [*zip(whole, parts, strict=True), (whole[1], alone[0])]:
        np.testing.assert_allclose(one.logits, other.logits, atol=1e-4)
    assert model.draw([], []) == []


def test_each_prompt_has_its_own_picture_of_the_thing(model, tmp_path):
    images, prompts = asked(tmp_path, 2)
    grid, dim = model.encoder.spec.grid, model.encoder.spec.dim
    rng = np.random.default_rng(0)
    patches = rng.normal(size=(dim, grid, grid)).astype(np.float32)
    shares = np.zeros((grid, grid), np.float32)
    shares[0] = 1
    seen = [prompts[0], replace(prompts[1], reference=Reference("tiny", patches, shares))]
    plain, told = model.draw(images, prompts), model.draw(images, seen)
    np.testing.assert_allclose(plain[0].logits, told[0].logits, atol=1e-5)
    assert not np.allclose(plain[1].logits, told[1].logits)
    other = replace(prompts[0], reference=Reference("another", patches, shares))
    with pytest.raises(DataError, match="encoder another, the mask head reads tiny"):
        model.draw(images[:1], [other])
    shape = MaskHeadShape(model.encoder.level_widths, dim=32, heads=4, middle=16, fine=16)
    blind = MaskModel(model.encoder, MaskHead(shape))
    for one, other in zip(blind.draw(images, prompts), blind.draw(images, seen), strict=True):
        assert np.array_equal(one.logits, other.logits)


def test_another_precision_is_autocast_and_near(model, tmp_path):
    images, prompts = asked(tmp_path, 2)
    half = MaskModel(model.encoder, model.head, Compute(dtype=torch.bfloat16))
    for one, other in zip(model.draw(images, prompts), half.draw(images, prompts), strict=True):
        np.testing.assert_allclose(one.expected_iou, other.expected_iou, atol=0.03)
        assert not np.array_equal(one.logits, other.logits)


def test_the_fingerprint_knows_the_weights(model):
    encoder = TinyEncoder()
    assert MaskModel(encoder, tiny_head(encoder.level_widths)).fingerprint == model.fingerprint
    other = MaskModel(encoder, tiny_head(encoder.level_widths, seed=1))
    assert other.fingerprint != model.fingerprint


def test_the_shipped_file_fits_its_encoder_and_is_small():
    path = mask_head_path("embedded")
    encoder = build_encoder("embedded", pretrained=False, for_levels=True)
    load_mask_head(path, expected_levels=encoder.level_widths)
    assert path.stat().st_size < 8e6


@pytest.mark.weights
def test_the_shipped_head_outlines_things_of_the_sample():
    clips = load_annotations(annotation_path(SAMPLE, "val")).clips
    images, boxes = [], []
    for clip in clips:
        frames = open_clip(SAMPLE, clip)
        for query in clip.queries:
            track = query.response_in(frames.size_hw)
            middle = len(track.boxes_xyxy) // 2
            images.append(frames[track.start_frame + middle])
            boxes.append(track.boxes_xyxy[middle])
    prompts = []
    for number, (image, box) in enumerate(zip(images, boxes, strict=True)):
        side = 1.5 * float((box[2:] - box[:2]).max())
        centre = (box[:2] + box[2:]) / 2
        x1, y1 = np.maximum(centre - side / 2, 0).astype(int)
        x2, y2 = (centre + side / 2).astype(int)
        images[number] = image[y1:y2, x1:x2]
        boxes[number] = box - np.array([x1, y1, x1, y1], np.float32)
        prompts.append(MaskPrompt(boxes[number]))
    drawn = MaskModel.from_pretrained("embedded").draw(images, prompts)
    found = [mask_to_box(masks.mask()) for masks in drawn]
    ious = [
        0.0 if box is None else float(box_iou(box, true))
        for box, true in zip(found, boxes, strict=True)
    ]
    assert np.mean(ious) > 0.8
