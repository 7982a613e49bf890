"""The query token of an object, and tokens of crops."""

import numpy as np
import pytest
import torch

from eval.reid.tokens import PointTokens, query_token, tokenize_crops
from ren_core.errors import ConfigError
from ren_core.prompts import grid_centres
from tests.eval.reid.coloured_videos import RED, colour_tokens, colours, picture


def test_mask_query_weights_patches_by_what_the_object_covers():
    tokens = torch.tensor([[2.0, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 5]])
    found = PointTokens(tokens, grid_centres(2, (4, 4)), cells=2)
    mask = np.zeros((4, 4), bool)
    mask[:2, 1:3] = True  # half of both upper cells
    mask[2, 2] = True  # a quarter of the last one
    expected = torch.tensor([0.5, 0.5, 0.25]) / 1.25
    assert torch.allclose(query_token(found, mask, "mask"), expected)
    with pytest.raises(ConfigError, match="needs patches"):
        query_token(colour_tokens(picture()), np.ones((64, 96), bool), "mask")


def test_small_object_takes_the_nearest_token():
    found = colour_tokens(picture((RED, 8, 8)))
    mask = np.zeros((64, 96), bool)
    mask[9:11, 9:11] = True  # between the points of the tokens
    token = query_token(found, mask, "pooled")
    assert token.argmax() == 0
    assert token[0] > 250


def test_quarters_are_placed_in_the_frame():
    frame = picture((RED, 40, 64))
    found = tokenize_crops(frame, colours)["colour"]
    assert len(found.tokens) == 96 + 4 * 24
    red = found.tokens[:, 0] > 250
    assert (found.points_yx[red.numpy()] >= [40, 64]).all()
    assert (found.points_yx[red.numpy()] < [56, 80]).all()
    assert red.sum() == 4 + 4


def test_grid_centres_by_hand():
    assert grid_centres(2, (4, 8)).tolist() == [[1, 2], [1, 6], [3, 2], [3, 6]]
