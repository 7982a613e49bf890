"""Which queries are drawn, and how they are scored."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from eval.coco import CocoImage, load_split
from eval.retrieval.queries import (
    Query,
    QueryConfig,
    class_means,
    macro_means,
    read_queries,
    score_queries,
    select_queries,
)
from ren_core.errors import ConfigError, DataError
from tests.coco_files import write_coco


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
    for name, value in (("per_class", 0), ("points", 0), ("min_area", -1)):
        with pytest.raises(ConfigError, match=f"<= {name} <= .*; got {value} "):
            QueryConfig(**{name: value})
