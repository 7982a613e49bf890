"""Vectors of images and queries, made once."""

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from eval.coco import load_split
from eval.retrieval import nearest
from eval.retrieval.queries import QueryConfig, score_queries, select_queries
from eval.retrieval.tokens import (
    database_tokens,
    image_vectors,
    mask_at,
    object_vectors,
    query_tokens,
    rank,
    read_vectors,
    stacked_queries,
)
from ren_core.errors import DataError
from ren_core.images import to_tensor
from tests.coco_files import write_coco
from tests.tiny import tiny_ren


def test_image_vectors_are_rens_and_the_encoders():
    ren = tiny_ren(grid_size=4, aggregate=False)
    picture = np.random.default_rng(0).integers(0, 255, (30, 50, 3), np.uint8)
    other = picture[:20]
    (arrays, _) = image_vectors([picture, other], ren)
    (expected,) = ren.encode([to_tensor(picture)])
    aligned = F.normalize(expected.aligned_tokens, dim=-1).numpy()
    np.testing.assert_allclose(arrays["ren"].astype(np.float32), aligned, atol=2e-3)
    np.testing.assert_array_equal(arrays["ren_yx"], expected.points_yx.numpy())
    patches = F.normalize(ren.patch_features([to_tensor(picture)]).tokens[0], dim=-1).numpy()
    np.testing.assert_allclose(arrays["patches"].astype(np.float32), patches, atol=2e-3)
    assert arrays["patches_yx"][1].tolist() == pytest.approx([30 / 16, 50 * 3 / 16])
    assert len(ren.encoder._forward_hooks) == 0


def test_query_vectors_are_means_over_the_mask():
    ren = tiny_ren()
    picture = np.random.default_rng(0).integers(0, 255, (28, 56, 3), np.uint8)
    mask = np.zeros((28, 56), bool)
    mask[:, :7] = True  # the first column of patches, and nothing else
    arrays = object_vectors(picture, mask, ren, points=56 * 7, seed=3)
    features = ren.patch_features([to_tensor(picture)])
    column = features.features[0, :, :, 0].mean(dim=1)
    np.testing.assert_allclose(arrays["patches"], F.normalize(column, dim=0), atol=1e-5)
    rows, columns = torch.meshgrid(torch.arange(56), torch.arange(7), indexing="ij")
    points = torch.stack([rows, columns], dim=-1).reshape(-1, 2)  # every pixel is drawn once
    with torch.no_grad():
        tokens = ren.head.align(ren.prompt_tokens(features, [points])[0]).mean(dim=0)
    np.testing.assert_allclose(arrays["ren"], F.normalize(tokens, dim=0), atol=1e-5)
    few = [object_vectors(picture, mask, ren, points=2, seed=s)["ren"] for s in (0, 0, 1)]
    np.testing.assert_array_equal(few[0], few[1])
    assert not np.allclose(few[0], few[2])


def test_a_mask_that_vanishes_keeps_the_pixel_it_touches():
    mask = np.zeros((100, 100), bool)
    mask[20:60, 10:40] = True
    assert mask_at(mask, 10).sum() == 4 * 3
    point = np.zeros((100, 100), bool)
    point[33, 58] = True
    assert np.argwhere(mask_at(point, 10)).tolist() == [[3, 5]]


def test_tokens_are_cached_and_the_right_image_is_found(tmp_path, monkeypatch):
    write_coco(tmp_path, "train2017", {1: (1,), 2: (2,)})
    write_coco(tmp_path, "val2017", {11: (2, 3), 12: (1, 3), 13: (3,)})
    ren = tiny_ren(aggregate=False)
    train, val = load_split(tmp_path, "train2017"), load_split(tmp_path, "val2017")
    database = list(val.images.values())
    out = tmp_path / "stages"
    stage = database_tokens(val, database[:2], ren, out=out)
    before = (stage / "000000000011.safetensors").stat().st_mtime_ns
    assert database_tokens(val, database, ren, out=out, batch_size=2) == stage
    assert (stage / "000000000011.safetensors").stat().st_mtime_ns == before
    assert database_tokens(val, [], tiny_ren(grid_size=3, aggregate=False), out=out) != stage

    config = QueryConfig(min_area=0)
    queries = select_queries(train, config)
    asked = query_tokens(train, queries, ren, config, out=out)
    ranked = rank(stage, database, stacked_queries(asked, queries), nearest.matrix_search())
    rows = list(score_queries(queries, database, ranked["patches"].scores, 1))
    assert [row.ap for row in rows] == [1, 1]
    i = int(ranked["patches"].scores[0].argmax())
    y, x = read_vectors(stage, 12)["patches_yx"][ranked["patches"].best[0, i]]
    assert (database[i].image_id, 6 <= y < 20, 3 <= x < 17) == (12, True, True)
    assert ranked["ren"].scores.shape == (2, 3)

    monkeypatch.setattr(ren, "encode", None)  # all is there: the model is not asked again
    assert database_tokens(val, database, ren, out=out) == stage


def test_a_picture_of_another_size_is_an_error(tmp_path):
    write_coco(tmp_path, "val2017", {1: (1,)})
    cv2.imwrite(str(tmp_path / "val2017/1.png"), np.zeros((10, 10, 3), np.uint8))
    split = load_split(tmp_path, "val2017")
    with pytest.raises(DataError, match="10x10 pixels, the annotations say 40x60"):
        database_tokens(split, list(split.images.values()), tiny_ren(), out=tmp_path / "s")


def test_a_missing_picture_names_the_command(tmp_path):
    write_coco(tmp_path, "val2017", {1: (1,)})
    (tmp_path / "val2017/1.png").unlink()
    split = load_split(tmp_path, "val2017")
    with pytest.raises(DataError, match=r"1\.png is missing.*run `for z in zips/train2017\.zip"):
        database_tokens(split, list(split.images.values()), tiny_ren(), out=tmp_path / "s")
