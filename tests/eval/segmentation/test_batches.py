"""Training batches: fixed views and augmented ones."""

from __future__ import annotations

from dataclasses import replace

import torch

from eval.segmentation.batches import TrainingViews, fixed_batches, fixed_views
from eval.segmentation.config import HeadConfig, Method, SegmentationConfig
from eval.segmentation.data import open_set
from eval.segmentation.predict import direct_encode
from tests.segmentation_sets import QUICK, write_camvid
from tests.tiny import SPEC, tiny_ren


def test_fixed_batches_see_every_image_once_per_epoch():
    tokens = torch.arange(5.0).view(5, 1, 1, 1, 1).expand(5, 2, 1, 1, 1)
    labels = torch.zeros(5, 2, 1, 1, dtype=torch.uint8)
    labels[:, 1] = 1
    config = replace(QUICK, batch=2)
    drawn = list(fixed_batches(({"ren": tokens}, labels), config, 6, seed=1))
    assert [len(b[1]) for b in drawn] == [2, 2, 1, 2, 2, 1]
    first = torch.cat([b[0]["ren"].flatten() for b in drawn[:3]])
    assert sorted(first.tolist()) == [0, 1, 2, 3, 4]
    sides = torch.cat([b[1].flatten() for b in drawn])
    assert 0 < sides.sum() < len(sides)
    again = list(fixed_batches(({"ren": tokens}, labels), config, 6, seed=1))
    assert all(torch.equal(a[1], b[1]) for a, b in zip(drawn, again, strict=True))
    never = list(fixed_batches(({"ren": tokens}, labels), replace(config, flip=0.0), 6, seed=1))
    assert sum(int(b[1].sum()) for b in never) == 0


def test_mirrored_view_is_the_mirrored_image(tmp_path):
    data = open_set("camvid", write_camvid(tmp_path), "train", limit=1)
    ren = tiny_ren()
    config = SegmentationConfig(methods=(Method(source="patches"),), head=QUICK, grid_size=8)
    tokens, labels = fixed_views(data, ren, config, direct_encode(ren))
    assert torch.equal(labels[0, 0].flip(1), labels[0, 1])
    plain, mirrored = tokens["patches"][0].float()
    assert torch.allclose(plain.flip(2), mirrored, atol=2e-2)


def test_training_views_depend_on_seed_and_index_only(camvid):
    data = open_set("camvid", camvid, "train")
    config = HeadConfig(batch=4)
    views = TrainingViews(data, config, SPEC, total=3, seed=0)
    assert len(views) == 12
    assert sorted(views.order[:6].tolist()) == list(range(6))
    first, labels = views[5]
    assert (first.shape, labels.shape) == ((3, 56, 56), (56, 56))
    assert torch.equal(first, views[5][0])
    assert not torch.equal(first, TrainingViews(data, config, SPEC, total=3, seed=1)[5][0])
