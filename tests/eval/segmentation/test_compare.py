"""Heads learn on a tiny set and are scored; seeds decide everything."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from eval.segmentation.compare import evaluate, train
from eval.segmentation.config import Method, SegmentationConfig
from eval.segmentation.confusion import VOID, class_iou, mean_iou, pixel_accuracy
from eval.segmentation.data import open_set
from eval.segmentation.predict import direct_encode
from tests.segmentation_sets import QUICK
from tests.tiny import tiny_ren


def test_heads_learn_and_are_scored_at_both_resolutions(camvid):
    ren = tiny_ren()
    methods = (
        Method(source="patches"),
        Method(),
        Method(prompting="slic"),
        Method(merge_similarity=0.9),
    )
    config = SegmentationConfig(methods=methods, head=QUICK, grid_size=8, seeds=(0, 4))
    training, test = open_set("camvid", camvid, "train"), open_set("camvid", camvid, "test")
    heads = train(training, ren, config, direct_encode(ren))
    scores = evaluate(test, ren, config, heads, direct_encode(ren))
    assert [(s.method, s.seed) for s in scores] == [(m, s) for m in methods for s in (0, 4)]
    assert mean_iou(scores[0].at_original) > 0.6
    assert scores[0].tokens == 64
    assert scores[-1].tokens < 40
    labelled = sum(int((test.read_labels(e) != VOID).sum()) for e in test.examples)
    for score in scores:
        assert score.at_original.sum() == labelled
        assert score.at_model.sum() < labelled
        assert not np.isnan(class_iou(score.at_original)[[0, 3, 8]]).any()
        assert score.row(test.classes)["mIoU"] == mean_iou(score.at_original)
    assert not torch.equal(heads[0]["ren"].classify.weight, heads[4]["ren"].classify.weight)


def test_augmented_training_encodes_fresh_views(camvid):
    ren = tiny_ren()
    head = replace(QUICK, epochs=16, augmentation="resized-crop")
    config = SegmentationConfig(
        methods=(Method(source="patches"), Method()), head=head, grid_size=4
    )
    data = open_set("camvid", camvid, "train")
    heads = train(data, ren, config, direct_encode(ren))
    scores = evaluate(data, ren, config, heads, direct_encode(ren))
    assert pixel_accuracy(scores[0].at_original) > 0.6
    assert int(heads[0]["ren"].norm.num_batches_tracked) == 16 * 2


def test_same_seed_same_head(camvid):
    ren = tiny_ren()
    config = SegmentationConfig(methods=(Method(),), head=replace(QUICK, epochs=2), grid_size=4)
    data = open_set("camvid", camvid, "train")
    a, b = (train(data, ren, config, direct_encode(ren))[0]["ren"] for _ in range(2))
    assert torch.equal(a.classify.weight, b.classify.weight)
