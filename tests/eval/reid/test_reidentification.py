"""Retrieval and pointing on pictures whose right answers are known, with colours as tokens."""

import cv2
import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, roc_auc_score

from eval.ranking import average_precision, r_precision, roc_auc
from eval.reid.pointing import PointingCase, box_mask, evaluate_pointing
from eval.reid.protocol import (
    Place,
    ReidConfig,
    Video,
    evaluate_retrieval,
    frames_for,
    read_videos,
)
from eval.reid.tokens import Comparison, PointTokens, query_token, tokenize_crops
from ren_core.errors import ConfigError, DataError
from ren_core.prompts import grid_centres

POOLED, CENTRE = Comparison("colour", "pooled"), Comparison("colour", "centre")
RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def colour_tokens(image):
    """One token per 8-pixel cell: its mean colour."""
    cells = cv2.resize(
        image, (image.shape[1] // 8, image.shape[0] // 8), interpolation=cv2.INTER_AREA
    )
    tokens = torch.from_numpy(cells.reshape(-1, 3).astype(np.float32)) + 1
    y, x = np.mgrid[0 : cells.shape[0], 0 : cells.shape[1]]
    points = np.stack([y.ravel(), x.ravel()], 1).astype(np.float32) * 8 + 4
    return PointTokens(tokens, points)


def colours(image):
    return {"colour": colour_tokens(image)}


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


def test_clear_colours_are_found_everywhere(videos):
    config = ReidConfig(gallery_step=1, query_frames=(1, 3, 99))
    rows = evaluate_retrieval(videos, colours, config, [POOLED, CENTRE])
    queries = [("green", 1), ("green", 3), ("red", 1), ("red", 3)]
    assert [(r.query, r.video, r.frame) for r in rows] == [
        (kind, *query) for kind in ("pooled", "centre") for query in queries
    ]
    for row in rows:
        assert (row.frame_ap, row.r_precision, row.auc, row.pointing) == (1, 1, 1, 1)


def test_tokens_that_say_nothing_score_by_chance(videos):
    def blind(image):
        found = colour_tokens(image)
        return {"colour": PointTokens(torch.ones_like(found.tokens), found.points_yx)}

    config = ReidConfig(gallery_step=1, query_frames=(0,))
    rows = evaluate_retrieval(videos, blind, config, [POOLED])
    assert len(rows) == 2
    assert all(row.auc == 0.5 for row in rows)
    assert all(row.frame_ap < 0.6 for row in rows)


def test_gallery_step_thins_the_gallery(videos):
    seen = []

    def counting(image):
        seen.append(image)
        return colours(image)

    config = ReidConfig(gallery_step=3, query_frames=(1,))
    evaluate_retrieval(videos, counting, config, [POOLED, CENTRE])
    assert len(seen) == 4 + 2  # frames 0 and 3 of both videos, and the queries; once for both


def test_own_frame_and_frames_without_the_object_are_not_in_the_gallery(videos):
    red = next(v for v in videos if v.name == "red")  # its sixth frame has an empty mask
    used, same = frames_for(Place(red, 0), [Place(v, i) for v in videos for i in (0, 5)])
    assert [v.name for v in videos] == ["green", "red"]
    assert used.tolist() == [True, True, False, False]
    assert same.tolist() == [False, False, True, True]


def test_queries_may_be_made_of_other_tokens(videos):
    def negative(image):
        found = colour_tokens(image)
        return {"colour": PointTokens(-found.tokens, found.points_yx)}

    config = ReidConfig(gallery_step=1, query_frames=(1,))
    rows = evaluate_retrieval(videos, colours, config, [CENTRE], tokenize_query=negative)
    assert all(row.pointing == 0 for row in rows)


def test_without_queries_there_are_no_rows(videos):
    config = ReidConfig(query_frames=(99,))
    assert evaluate_retrieval(videos, colours, config, [POOLED]) == []


def test_folder_must_hold_matching_frames_and_masks(tmp_path, videos):
    videos[0].masks[2].unlink()
    with pytest.raises(DataError, match="6 frames do not match 5 masks"):
        read_videos(tmp_path)
    with pytest.raises(DataError, match="--data"):
        read_videos(tmp_path / "nothing")
    gone = Video("gone", (tmp_path / "no.jpg",), (tmp_path / "no.png",))
    with pytest.raises(DataError, match=r"no\.png is missing"):
        evaluate_retrieval([gone], colours, ReidConfig(query_frames=(0,)), [POOLED])


def case(frame, box, query=None):
    query = picture((RED, 8, 8)) if query is None else query
    query_box = np.array([8, 8, 24, 24], np.float32)
    return PointingCase("q", query, query_box, ((frame, np.array(box, np.float32)),))


def test_pointing_tells_the_object_from_its_twin():
    frame = picture((RED, 8, 64), (BLUE, 40, 16))
    right, wrong = case(frame, (64, 8, 80, 24)), case(frame, (16, 40, 32, 56))
    found = list(evaluate_pointing([right, wrong], colours, [POOLED, CENTRE]))
    assert [row.query for row in found] == ["pooled", "centre"] * 2
    assert [row.hits for row in found] == [1, 1, 0, 0]
    assert all(row.margin > 0.1 for row in found[:2])
    assert all(row.margin < -0.1 for row in found[2:])


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


def test_boxes_outside_the_frame_still_mark_a_pixel():
    assert box_mask(np.array([-9, -9, -3, -3], np.float32), (4, 6)).sum() == 1
    assert box_mask(np.array([1.5, 0, 3, 2], np.float32), (4, 6)).sum() == 4


def test_grid_centres_by_hand():
    assert grid_centres(2, (4, 8)).tolist() == [[1, 2], [1, 6], [3, 2], [3, 6]]


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
