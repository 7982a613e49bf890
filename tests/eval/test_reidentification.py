"""Retrieval and pointing on pictures whose right answers are known, with colours as tokens."""

import cv2
import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, roc_auc_score

from eval.describe import Described, describe_crops, grid_centres, patch_describer, query_token
from eval.pointing import PointingCase, box_mask, evaluate_pointing
from eval.ranking import average_precision, r_precision, roc_auc
from eval.reidentification import ReidConfig, Video, evaluate_retrieval, read_videos
from ren_core.encoders.catalog import build_encoder
from ren_core.errors import DataError

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def colour_tokens(image):
    """One token per 8-pixel cell: its mean colour."""
    cells = cv2.resize(
        image, (image.shape[1] // 8, image.shape[0] // 8), interpolation=cv2.INTER_AREA
    )
    tokens = torch.from_numpy(cells.reshape(-1, 3).astype(np.float32)) + 1
    y, x = np.mgrid[0 : cells.shape[0], 0 : cells.shape[1]]
    points = np.stack([y.ravel(), x.ravel()], 1).astype(np.float32) * 8 + 4
    return Described(tokens, points)


def picture(*squares, size=(64, 96)):
    """Grey, with 16-pixel squares (colour, y, x)."""
    image = np.full((*size, 3), 90, np.uint8)
    for colour, y, x in squares:
        image[y : y + 16, x : x + 16] = colour
    return image


def write_video(root, name, pictures, boxes):
    for i, (image, box) in enumerate(zip(pictures, boxes, strict=True)):
        for folder in ("frames", "masks"):
            (root / folder / name).mkdir(parents=True, exist_ok=True)
        mask = np.zeros(image.shape[:2], np.uint8)
        if box is not None:
            mask[box[0] : box[0] + 16, box[1] : box[1] + 16] = 255
        cv2.imwrite(str(root / "frames" / name / f"{i:05d}.jpg"), image[..., ::-1])
        cv2.imwrite(str(root / "masks" / name / f"{i:05d}.png"), mask)


@pytest.fixture
def videos(tmp_path):
    reds = [picture((RED, 8, 8 * i), (BLUE, 40, 80)) for i in range(6)]
    greens = [picture((GREEN, 8 * i, 16)) for i in range(6)]
    write_video(tmp_path, "red", reds, [(8, 8 * i) for i in range(5)] + [None])
    write_video(tmp_path, "green", greens, [(8 * i, 16) for i in range(6)])
    return read_videos(tmp_path)


@pytest.mark.parametrize("kind", ["pooled", "centre"])
def test_clear_colours_are_found_everywhere(videos, kind):
    config = ReidConfig(gallery_step=1, query_frames=(1, 3, 99), query=kind)
    rows = list(evaluate_retrieval(videos, colour_tokens, config))
    assert [(r.video, r.frame) for r in rows] == [
        ("green", 1),
        ("green", 3),
        ("red", 1),
        ("red", 3),
    ]
    for row in rows:
        assert (row.frame_ap, row.r_precision, row.auc, row.pointing) == (1, 1, 1, 1)


def test_tokens_that_say_nothing_score_by_chance(videos):
    def blind(image):
        described = colour_tokens(image)
        return Described(torch.ones_like(described.tokens), described.points_yx)

    rows = list(evaluate_retrieval(videos, blind, ReidConfig(gallery_step=1, query_frames=(0,))))
    assert all(row.auc == 0.5 for row in rows)
    assert all(row.frame_ap < 0.6 for row in rows)


def test_gallery_step_thins_the_gallery(videos):
    seen = []

    def counting(image):
        seen.append(image)
        return colour_tokens(image)

    list(evaluate_retrieval(videos, counting, ReidConfig(gallery_step=3, query_frames=(1,))))
    assert len(seen) == 4 + 2  # frames 0 and 3 of both videos, and the queries


def test_folder_must_hold_matching_frames_and_masks(tmp_path, videos):
    videos[0].masks[2].unlink()
    with pytest.raises(DataError, match="6 frames do not match 5 masks"):
        read_videos(tmp_path)
    with pytest.raises(DataError, match="--data"):
        read_videos(tmp_path / "nothing")
    gone = Video("gone", (tmp_path / "no.jpg",), (tmp_path / "no.png",))
    with pytest.raises(DataError, match=r"no\.jpg is missing"):
        list(evaluate_retrieval([gone], colour_tokens, ReidConfig()))


def case(frame, box, query=None):
    query = picture((RED, 8, 8)) if query is None else query
    query_box = np.array([8, 8, 24, 24], np.float32)
    return PointingCase("q", query, query_box, ((frame, np.array(box, np.float32)),))


def test_pointing_tells_the_object_from_its_twin():
    frame = picture((RED, 8, 64), (BLUE, 40, 16))
    right, wrong = case(frame, (64, 8, 80, 24)), case(frame, (16, 40, 32, 56))
    found = list(evaluate_pointing([right, wrong], colour_tokens, "pooled"))
    assert [row.hits for row in found] == [1.0, 0.0]
    assert found[0].margin > 0.1
    assert found[1].margin < -0.1


def test_small_object_takes_the_nearest_token():
    described = colour_tokens(picture((RED, 8, 8)))
    mask = np.zeros((64, 96), bool)
    mask[9:11, 9:11] = True  # between the points of the tokens
    token = query_token(described, mask, "pooled")
    assert token.argmax() == 0
    assert token[0] > 250


def test_quarters_are_placed_in_the_frame():
    frame = picture((RED, 40, 64))
    described = describe_crops(frame, colour_tokens)
    assert len(described.tokens) == 96 + 4 * 24
    red = described.tokens[:, 0] > 250
    assert (described.points_yx[red.numpy()] >= [40, 64]).all()
    assert (described.points_yx[red.numpy()] < [56, 80]).all()
    assert red.sum() == 4 + 4


def test_boxes_outside_the_frame_still_mark_a_pixel():
    assert box_mask(np.array([-9, -9, -3, -3], np.float32), (4, 6)).sum() == 1
    assert box_mask(np.array([1.5, 0, 3, 2], np.float32), (4, 6)).sum() == 4


def test_grid_centres_by_hand():
    assert grid_centres(2, (4, 8)).tolist() == [[1, 2], [1, 6], [3, 2], [3, 6]]


def test_encoder_patches_are_described():
    encoder = build_encoder(
        "dinov2-vits14",
        pretrained=False,
        input_size=28,
        options={"depth": 1, "embed_dim": 48, "num_heads": 3},
    )
    described = patch_describer(encoder)(np.zeros((40, 80, 3), np.uint8))
    assert described.tokens.shape == (4, 48)
    assert described.points_yx.tolist() == [[10, 20], [10, 60], [30, 20], [30, 60]]


@pytest.mark.parametrize("seed", range(4))
def test_ranking_agrees_with_scikit_learn(seed):
    """Scikit-learn's definitions take ties together, as ours do."""
    generator = np.random.default_rng(seed)
    scores = generator.integers(-4, 5, 40) / 4.0  # many ties, negative too
    relevant = generator.random(40) < 0.3
    assert average_precision(scores, relevant) == pytest.approx(
        average_precision_score(relevant, scores)
    )
    assert roc_auc(scores, relevant) == pytest.approx(roc_auc_score(relevant, scores))


def test_undefined_figures_are_nan():
    none, every = np.zeros(3, bool), np.ones(3, bool)
    scores = np.arange(3.0)
    assert np.isnan(average_precision(scores, none))
    assert np.isnan(r_precision(scores, none))
    assert np.isnan(roc_auc(scores, every))
    assert average_precision(scores, every) == r_precision(scores, every) == 1
