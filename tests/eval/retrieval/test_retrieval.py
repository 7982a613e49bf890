"""One-shot retrieval: protocol, metrics against scikit-learn, search, tokens, layout."""

import json
from collections import Counter
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from eval.coco import CocoImage, load_split
from eval.ranking import average_precision, precision_at, r_precision
from eval.retrieval import nearest
from eval.retrieval.pictures import spread
from eval.retrieval.queries import (
    Query,
    QueryConfig,
    class_means,
    macro_means,
    read_queries,
    score_queries,
    select_queries,
)
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
from ren_core.errors import ConfigError, DataError
from ren_core.images import to_tensor
from tests.places import SHARED
from tests.tiny import tiny_ren
from tools import coco128

COCO128 = SHARED / "data/train/coco128_seg"

COLOURS = {1: (220, 40, 40), 2: (40, 70, 220), 3: (50, 200, 60)}


def write_coco(root, split, scenes, *, crowd=(), size=(40, 60)):
    """A dataset of grey images with coloured squares: ``scenes`` is {image id: categories}."""
    H, W = size
    images, annotations = [], []
    (root / split).mkdir(parents=True)
    for image_id, shown in scenes.items():
        picture = np.full((H, W, 3), 128, np.uint8)
        for i, category in enumerate(shown):
            x, y, side = 3 + 18 * i, 6, 14
            picture[y : y + side, x : x + side] = COLOURS[category]
            corners = [x, y, x + side, y, x + side, y + side, x, y + side]
            annotations.append(
                {
                    "id": image_id * 10 + i,
                    "image_id": image_id,
                    "category_id": category,
                    "area": side * side,
                    "segmentation": [corners],
                    "iscrowd": int((image_id, category) in crowd),
                }
            )
        cv2.imwrite(str(root / split / f"{image_id}.png"), picture[..., ::-1])
        name = f"{image_id}.png"
        images.append({"id": image_id, "file_name": name, "height": H, "width": W})
    names = [{"id": i, "name": n} for i, n in ((3, "green"), (1, "red"), (2, "blue"))]
    file = root / "annotations" / f"instances_{split}.json"
    file.parent.mkdir(exist_ok=True)
    document = {"images": images, "annotations": annotations, "categories": names}
    file.write_text(json.dumps(document))


# --- metrics -------------------------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([-1.0, -0.25, 0.0, 1e-9, 0.25, 0.3, 1.0]), st.booleans()),
        min_size=1,
        max_size=40,
    )
)
def test_average_precision_is_sklearns_with_ties_and_negative_scores(items):
    # scikit-learn's is the definition that the published protocol calls
    scores = np.array([s for s, _ in items])
    truth = np.array([t for _, t in items])
    if not truth.any():
        assert np.isnan(average_precision(scores, truth))
    else:
        expected = average_precision_score(truth, scores)
        assert average_precision(scores, truth) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("share", [0.001, 0.5, 1.0])
def test_average_precision_of_many_random_scores_is_sklearns(share):
    generator = np.random.default_rng(1)
    scores = generator.normal(size=5000).astype(np.float32).astype(np.float64)
    truth = generator.random(5000) < share
    truth[7] = True
    expected = average_precision_score(truth, scores)
    assert average_precision(scores, truth) == pytest.approx(expected, abs=1e-12)


def test_precision_is_always_divided_by_k():
    scores, truth = np.array([0.3, -0.2, 0.9, -0.5]), np.array([True, True, False, True])
    assert [precision_at(scores, truth, k) for k in (1, 2, 3, 50)] == [0, 1 / 2, 2 / 3, 3 / 50]
    assert np.isnan(precision_at(scores, np.zeros(4, bool), 2))


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([-0.5, 0.0, 0.3]), st.booleans()), min_size=1, max_size=6),
    st.integers(1, 8),
)
def test_precision_under_ties_is_the_mean_over_all_orders(items, k):
    """Every order of the items, sorted stably by score, is one way that ties can fall."""
    scores = np.array([s for s, _ in items])
    truth = np.array([t for _, t in items])
    if not truth.any():
        assert np.isnan([precision_at(scores, truth, k), r_precision(scores, truth)]).all()
        return
    orders = [sorted(order, key=lambda i: -scores[i]) for order in permutations(range(len(items)))]
    for found, first in ((precision_at(scores, truth, k), k), (r_precision(scores, truth), None)):
        first = first or int(truth.sum())
        expected = np.mean([truth[order[:first]].sum() / first for order in orders])
        assert found == pytest.approx(expected, abs=1e-12)


def test_the_ceiling_of_coco_val_is_the_published_one():
    """Seven classes of val2017 have fewer than 50 images; a perfect ranking then has 0.966."""
    short = [8, 9, 28, 34, 37, 49, 49]  # toaster, hair drier, scissors, toothbrush, ...
    positives = [*short, *np.linspace(50, 2693, 73).astype(int)]
    shown = [frozenset(c for c, n in enumerate(positives) if i < n) for i in range(5000)]
    database = [CocoImage(i, Path(), (1, 1), categories) for i, categories in enumerate(shown)]
    perfect = np.array([np.arange(5000) < n for n in positives], np.float32)
    queries = [Query(c, 9999, c) for c in range(80)]
    figures = macro_means(class_means(list(score_queries(queries, database, perfect, 50))))
    assert figures["ceiling"] == figures["precision"] == pytest.approx((73 + 214 / 50) / 80)
    assert round(figures["ceiling"], 3) == 0.966
    assert (figures["ap"], figures["classes"]) == (1, 80)


# --- protocol ------------------------------------------------------------------------------------


def test_rows_leave_out_the_querys_own_image():
    database = [
        CocoImage(i, Path(), (1, 1), frozenset(c)) for i, c in ((5, {1}), (6, {1}), (7, {}))
    ]
    scores = np.array([[0.9, -0.3, 0.2], [0.9, -0.3, 0.2], [0.9, 0.1, 0.2]], np.float32)
    queries = [Query(1, 5, 1), Query(2, 99, 1), Query(3, 99, 2)]
    own, other, unknown = score_queries(queries, database, scores, 2)
    assert (own.ap, own.precision, own.ceiling, own.positives) == (0.5, 0.5, 0.5, 1)
    assert other.ap == pytest.approx((1 + 2 / 3) / 2)
    assert (other.precision, other.ceiling, other.share) == (0.5, 1.0, 2 / 3)
    assert unknown.positives == 0
    assert np.isnan([unknown.ap, unknown.precision, unknown.ceiling, unknown.share]).all()


def test_means_are_over_queries_then_classes():
    row = next(
        score_queries(
            [Query(1, 9, 1)],
            [CocoImage(5, Path(), (1, 1), frozenset({1}))],
            np.ones((1, 1), np.float32),
            1,
        )
    )
    nothing = float("nan")
    rows = [
        replace(row, ap=1.0),
        replace(row, ap=0.5),
        replace(row, query=Query(2, 9, 4), ap=0.1),
        replace(row, query=Query(3, 9, 7), ap=nothing, precision=nothing),
    ]
    classes = class_means(rows)
    assert (classes[1]["ap"], classes[4]["ap"]) == (0.75, 0.1)
    figures = macro_means(classes)
    assert figures["ap"] == pytest.approx(0.425)  # not the mean of the rows, 0.533
    assert figures["classes"] == 2


def test_queries_are_seeded_and_one_per_image_and_class(tmp_path):
    scenes = {i: (1, 1, 2) if i % 2 else (1, 3) for i in range(1, 21)}
    write_coco(tmp_path, "train2017", scenes, crowd={(2, 3)})
    split = load_split(tmp_path, "train2017")
    config = QueryConfig(per_class=4, min_area=100)
    queries = select_queries(split, config)
    assert Counter(q.category_id for q in queries) == {1: 4, 2: 4, 3: 4}
    assert len({(q.category_id, q.image_id) for q in queries}) == 12
    assert select_queries(split, config) == queries
    assert select_queries(split, replace(config, seed=1)) != queries
    everything = select_queries(split, replace(config, per_class=99))
    assert Counter(q.category_id for q in everything) == {1: 20, 2: 10, 3: 9}  # one is a crowd
    assert select_queries(split, replace(config, min_area=197)) == []
    assert select_queries(split, replace(config, min_area=196, per_class=1))


def test_a_manifest_is_read_back_and_checked(tmp_path):
    write_coco(tmp_path, "train2017", {1: (1,), 2: (2, 3)})
    split = load_split(tmp_path, "train2017")
    rows = [{"annotation_id": 21, "image_id": 2, "category_id": 3}]
    assert read_queries(rows, split) == [Query(21, 2, 3)]
    for wrong in ({"annotation_id": 21, "image_id": 1}, {"annotation_id": 7, "image_id": 1}):
        with pytest.raises(DataError, match=f"annotation {wrong['annotation_id']}"):
            read_queries([wrong], split)


def test_wrong_settings_are_refused():
    for wrong in ({"per_class": 0}, {"points": 0}, {"min_area": -1}):
        with pytest.raises(ConfigError, match="per_class >= 1"):
            QueryConfig(**wrong)


# --- the dataset's layout ------------------------------------------------------------------------


def test_labels_of_an_image_include_crowds_but_queries_do_not(tmp_path):
    write_coco(tmp_path, "val2017", {4: (1, 2), 3: ()}, crowd={(4, 2)})
    split = load_split(tmp_path, "val2017")
    assert list(split.images) == [3, 4]
    assert split.images[4].categories == {1, 2}
    assert split.images[3].categories == frozenset()
    assert [o.category_id for o in split.objects.values()] == [1]
    assert list(split.categories.items()) == [(1, "red"), (2, "blue"), (3, "green")]


def test_masks_of_polygons_and_both_kinds_of_run_lengths(tmp_path):
    write_coco(tmp_path, "val2017", {4: (1,)})
    split = load_split(tmp_path, "val2017")
    found = split.objects[40]
    mask = split.mask(found)
    assert (mask.shape, mask.sum()) == ((40, 60), 196)
    assert mask[6:20, 3:17].all()
    runs = [1, 3, 40 * 60 - 4]  # column by column: rows 1-3 of the first column
    rle = {"size": [40, 60], "counts": runs}
    assert np.argwhere(split.mask(replace(found, segmentation=rle))).tolist() == [
        [1, 0],
        [2, 0],
        [3, 0],
    ]
    from pycocotools import mask as coco_mask

    text = coco_mask.frPyObjects(rle, 40, 60)
    text = {"size": text["size"], "counts": text["counts"].decode()}
    assert split.mask(replace(found, segmentation=text)).sum() == 3
    empty = {"size": [40, 60], "counts": [40 * 60]}
    with pytest.raises(DataError, match="covers no pixel"):
        split.mask(replace(found, segmentation=empty))
    with pytest.raises(DataError, match="neither"):
        split.mask(replace(found, segmentation=["nonsense"]))


def test_a_missing_dataset_is_one_sentence(tmp_path):
    with pytest.raises(DataError, match="official layout") as missing:
        load_split(tmp_path, "val2017")
    assert "train2017" in str(missing.value)
    assert "curl -fLO http://images.cocodataset.org/" in str(missing.value)
    write_coco(tmp_path, "val2017", {1: (1,)})
    file = tmp_path / "annotations/instances_val2017.json"
    for broken in ("{", "[]", '{"images": []}'):
        file.write_text(broken)
        with pytest.raises(DataError, match="no COCO instances file"):
            load_split(tmp_path, "val2017")


def test_yolo_polygons_become_coco_annotations(tmp_path):
    source = tmp_path / "yolo"
    for name in ("images/t", "labels/t"):
        (source / name).mkdir(parents=True)
    for i in range(4):
        cv2.imwrite(str(source / f"images/t/{i:03d}.jpg"), np.zeros((20, 40, 3), np.uint8))
    (source / "labels/t/002.txt").write_text("79 0.1 0.2 0.6 0.2 0.6 0.7 0.1 0.7\n")
    out = tmp_path / "coco"
    for _ in range(2):  # a second time replaces the first
        coco128.main(["--source", str(source), "--out", str(out), "--query-share", "0.25"])
    train, val = (load_split(out, s) for s in ("train2017", "val2017"))
    assert (len(train.images), len(val.images)) == (1, 3)
    assert all(i.file.is_file() for i in (*train.images.values(), *val.images.values()))
    (found,) = [*train.objects.values(), *val.objects.values()]
    holder = train if found.image_id in train.images else val
    assert (found.image_id, holder.categories[found.category_id]) == (2, "toothbrush")
    assert found.area == pytest.approx(20 * 10, abs=30)
    assert holder.mask(found)[4:14, 4:24].all()
    assert len(coco128.categories()) == 80
    coco128.convert(source, tmp_path / "other", seed=3, query_share=0.5)
    assert len(load_split(tmp_path / "other", "train2017").images) == 2


# --- search and tokens ---------------------------------------------------------------------------


def unit(generator, *shape):
    return F.normalize(torch.randn(shape, generator=generator), dim=-1).numpy()


def test_faiss_and_the_matrix_product_agree():
    pytest.importorskip("faiss")
    generator = torch.Generator().manual_seed(0)
    queries, vectors = unit(generator, 17, 24), unit(generator, 131, 24)
    vectors[7] = -queries[3]
    plain = nearest.build_search("matrix")(queries, vectors)
    fast = nearest.build_search("faiss")(queries, vectors)
    expected = queries @ vectors.T
    np.testing.assert_allclose(plain[0], expected.max(axis=1), atol=1e-6)
    np.testing.assert_array_equal(plain[1], expected.argmax(axis=1))
    np.testing.assert_allclose(fast[0], plain[0], atol=1e-6)
    np.testing.assert_array_equal(fast[1], plain[1])
    one = nearest.build_search("faiss")(queries, -queries[:1])
    assert one[0][0] == pytest.approx(-1, abs=1e-6)  # negative scores are not lost
    with pytest.raises(ConfigError, match="matrix, faiss"):
        nearest.build_search("annoy")


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


def test_pictures_are_spread_over_the_queries():
    assert spread([4, 5, 6], 9) == [4, 5, 6]
    assert spread([], 3) == spread([1], 0) == []


@pytest.mark.data
@pytest.mark.skipif(not COCO128.is_dir(), reason="needs ../shared/data/train/coco128_seg")
def test_coco128_in_the_official_layout(tmp_path):
    coco128.convert(COCO128, tmp_path, seed=1)
    train, val = load_split(tmp_path, "train2017"), load_split(tmp_path, "val2017")
    assert (len(train.images), len(val.images)) == (64, 64)
    assert not train.images.keys() & val.images.keys()
    assert len(train.objects) + len(val.objects) == 929
    for found in list(train.objects.values())[::40]:
        assert train.mask(found).sum() == found.area
