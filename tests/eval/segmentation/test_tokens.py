"""Tokens of every method, and the classes that they give to pixels."""

from __future__ import annotations

import numpy as np
import torch

from eval.segmentation.config import Method
from eval.segmentation.predict import direct_encode
from eval.segmentation.tokens import Prediction, grid_tokens, token_maps
from ren_core.encoders.base import squash
from tests.segmentation_sets import example_image
from tests.tiny import tiny_ren


def test_best_class_does_not_depend_on_the_chunks():
    scores = torch.randn((40, 4, 4), generator=torch.Generator().manual_seed(0))
    large = torch.nn.functional.interpolate(scores[None], (11, 13), mode="bilinear")[0]
    smooth = Prediction(scores).classes((11, 13))
    assert np.array_equal(smooth, large.argmax(0).numpy())
    assert torch.equal(Prediction(scores).dense((11, 13)), large)


def test_superpixels_keep_their_borders():
    labels = np.array([[0, 0, 1, 2]] * 4, np.int32)
    prediction = Prediction(torch.tensor([[1.0, 0, 0], [0, 2, 1]]), labels)
    assert prediction.classes((4, 4))[0].tolist() == [0, 0, 1, 1]
    assert prediction.classes((1, 8)).tolist() == [[0, 0, 0, 0, 1, 1, 1, 1]]
    assert prediction.dense((1, 2)).tolist() == [[[1, 0]], [[0, 1]]]  # centres of columns 1 and 3


def test_tokens_of_every_method():
    ren = tiny_ren()
    image, _ = example_image()
    features = direct_encode(ren)(image)
    square = squash(torch.tensor(image).permute(2, 0, 1)[None].float() / 255, 56)[0]
    methods = (
        Method(source="patches"),
        Method(source="patches", prompting="slic"),
        Method(),
        Method(merge_similarity=0.97),
        Method(prompting="slic", merge_similarity=0.9, min_group=2),
        Method(regions=5),
    )
    patches, superpixels, grid, merged, slic, five = token_maps(ren, methods, features, square, 6)
    assert torch.equal(patches.tokens, features.flatten(1).T)
    assert (len(grid.tokens), grid.distinct, grid.prompts) == (36, 36, None)
    assert torch.equal(grid.tokens, grid_tokens(ren, "ren", features[None], 6)[0].flatten(1).T)
    assert 1 < merged.distinct < 36
    # dropped prompts have one of these, too
    assert len(torch.unique(merged.tokens, dim=0)) == merged.distinct
    assert 1 < len(torch.unique(five.tokens, dim=0)) == five.distinct <= 5
    assert len(slic.tokens) == len(superpixels.tokens) == len(slic.prompts)
    assert slic.prompts.labels.max() + 1 == len(slic.tokens)
    inside = superpixels.prompts.labels == 0
    rows, columns = np.nonzero(inside)
    mean = features[:, rows // 7, columns // 7].mean(1)
    assert torch.allclose(superpixels.tokens[0], mean, atol=1e-5)
