from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ren_core.errors import ConfigError
from tests.clips import FramesInMemory
from tests.tiny import ColourSegmenter, ColourTracker, tiny_ren
from vq2d.job.estimate import token_bytes
from vq2d.localize.colour import colour_histogram, colour_vectors
from vq2d.localize.encode import EncodeConfig, TokenEncoder
from vq2d.localize.hunt import Hunt
from vq2d.localize.models import Models
from vq2d.localize.presets import preset
from vq2d.localize.query import QueryConfig, object_tokens
from vq2d.localize.refine import RefineConfig, refine
from vq2d.types import Candidate, ObjectView, Question

CENTRE = np.array([[48, 48]])


def plain(colour, size_hw=(60, 80)):
    return np.full((*size_hw, 3), colour, np.uint8)


def likeness(one, two):
    return float((colour_vectors(one, CENTRE, 96) @ colour_vectors(two, CENTRE, 96).T)[0, 0])


def test_equal_colours_are_alike_and_a_recoloured_twin_is_not():
    red, blue = plain((200, 30, 30)), plain((30, 30, 200))
    assert likeness(red, plain((200, 30, 30), (33, 17))) == pytest.approx(1, abs=1e-5)
    darker = likeness(red, plain((165, 25, 25)))
    assert darker > 0.85
    assert likeness(red, blue) < 0.2 < darker


def test_only_the_surroundings_of_a_point_count():
    image = plain((200, 30, 30), (96, 96))
    image[:, 48:] = (30, 30, 200)
    left, right = colour_vectors(image, np.array([[40, 20], [40, 76]]), 96)
    assert left @ colour_vectors(plain((200, 30, 30)), CENTRE, 96)[0] == pytest.approx(1, abs=1e-3)
    assert left @ right < 0.2
    (edge,) = colour_vectors(image, np.array([[40, 48]]), 96)
    assert edge @ left > 0.4
    assert edge @ right > 0.4


def test_vectors_are_the_square_roots_of_what_is_counted_pixel_by_pixel():
    image = np.random.default_rng(4).integers(0, 256, (96, 96, 3), dtype=np.uint8)
    points = np.array([[0, 0], [50, 95], [95, 3], [48, 48]])
    for (y, x), vector in zip(points, colour_vectors(image, points, 96), strict=True):
        mask = np.zeros((96, 96), bool)
        mask[max(y - 5, 0) : y + 6, max(x - 5, 0) : x + 6] = True
        root = np.sqrt(colour_histogram(image, mask))
        np.testing.assert_allclose(vector, root / np.linalg.norm(root), atol=1e-5)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**31), st.integers(1, 40), st.integers(1, 40), st.integers(20, 200))
def test_vectors_are_of_unit_length_anywhere_in_any_picture(seed, height, width, side):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    points = np.array([[0, 0], [side - 1, side - 1], *rng.integers(0, side, (3, 2))])
    vectors = colour_vectors(image, points, side)
    assert vectors.shape == (5, 108)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-4)
    assert (vectors >= 0).all()


def test_the_cosine_is_the_weighted_mean_of_tokens_and_colours():
    ren = tiny_ren()
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (50, 70, 3), dtype=np.uint8) for _ in range(2)]
    points = [np.array([[10.0, 20.0]]), np.array([[50.0, 30.0]])]
    plain_ones = TokenEncoder(ren, EncodeConfig()).at_points(images, points)
    joined = TokenEncoder(ren, EncodeConfig(colour=0.5)).at_points(images, points)
    assert joined.shape == (2, plain_ones.shape[1] + 108)
    torch.testing.assert_close(joined.norm(dim=1), torch.ones(2), atol=1e-4, rtol=0)
    colours = joined[:, plain_ones.shape[1] :] * (1.5 / 0.5) ** 0.5
    mean = (plain_ones[0] @ plain_ones[1] + 0.5 * (colours[0] @ colours[1])) / 1.5
    assert float(joined[0] @ joined[1]) == pytest.approx(float(mean), abs=1e-5)
    grid = TokenEncoder(ren, EncodeConfig(colour=0.5)).regions(images)
    assert grid[0].vectors.shape[1] == joined.shape[1]


def test_a_negative_weight_is_refused():
    with pytest.raises(ConfigError, match=r"0 <= encode\.colour <= 100; got -1\.0"):
        EncodeConfig(colour=-1.0)


def test_the_cost_counts_the_colours():
    whole = "tokens.directions=None"
    without = token_bytes(preset("embedded", [whole, "encode.colour=0.0"]))
    assert token_bytes(preset("embedded", [whole])) == without + 2 * 108


def test_a_histogram_sees_the_masked_part_only():
    image = plain((200, 30, 30), (40, 60))
    image[:, 30:] = (30, 30, 200)
    left, right = np.zeros((40, 60), bool), np.zeros((40, 60), bool)
    left[5:30, 3:25], right[10:20, 40:55] = True, True
    of_left, of_right = colour_histogram(image, left), colour_histogram(image, right)
    assert of_left.sum() == pytest.approx(1, abs=1e-5)
    assert np.minimum(of_left, of_right).sum() < 0.2
    whole = colour_histogram(plain((200, 30, 30)), np.ones((60, 80), bool))
    np.testing.assert_allclose(of_left, whole, atol=1e-5)
    assert colour_histogram(image, np.zeros((40, 60), bool)).sum() == 0


def test_a_candidate_of_the_querys_colour_scores_higher_than_its_twin():
    encoder = TokenEncoder(tiny_ren(aggregate=False), EncodeConfig())
    models = Models(encoder, ColourSegmenter(), ColourTracker())
    frames = []
    for colour in ((220, 40, 40), (40, 40, 220)):
        frame = plain((90, 90, 90), (64, 64))
        frame[20:40, 20:40] = colour
        frames.append(frame)
    box = np.array([20, 20, 40, 40], np.float32)
    views = (ObjectView(frames[0], box),)
    target = object_tokens(views, models, QueryConfig())
    question = Question(views, 2, None)
    hunt = Hunt(question, target, FramesInMemory(frames), [])
    scores = {}
    for weight in (0.0, 0.5):
        config = RefineConfig(crop_factors=(1.5,), colour=weight)
        asked = [Candidate(frame_idx=i, point_xy=(30.0, 30.0), similarity=0.5) for i in range(2)]
        found = refine(asked, hunt, target.vectors, models, config)
        scores[weight] = [candidate.refined_score for candidate in found]
    same, twin = scores[0.5]
    assert same == pytest.approx((scores[0.0][0] + 0.5) / 1.5, abs=1e-3)  # colours agree fully
    assert twin < (scores[0.0][1] + 0.5 * 0.3) / 1.5
    with pytest.raises(ConfigError, match=r"0 <= refine\.colour <= 100; got -0\.1"):
        RefineConfig(colour=-0.1)
