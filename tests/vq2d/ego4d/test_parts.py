"""Parts of a submission and what they make together."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest

from ren_core.errors import DataError
from tests.clips import BLUE, RED, clip_json, query_set, write_annotations
from vq2d.commands import merge
from vq2d.ego4d.annotations import load_annotations
from vq2d.ego4d.parts import merge_parts, part_of, shard_keys
from vq2d.ego4d.submission import build_submission, validate
from vq2d.types import ResponseTrack

SHARDS = 3


@pytest.fixture
def annotations(tmp_path):
    sets = {"1": query_set(RED, 4, 28, (15, 21)), "2": query_set(BLUE, 2, 28, (9, 14))}
    clips = [clip_json(f"clip{i}", copy.deepcopy(sets)) for i in range(5)]
    clips[2]["annotations"][0]["query_sets"]["1"]["visual_crop"]["width"] = 0  # damaged
    write_annotations(tmp_path, clips)
    return load_annotations(tmp_path / "v2/annotations/vq_val.json")


@pytest.fixture
def whole(annotations):
    rng = np.random.default_rng(3)
    tracks = {
        query.key: ResponseTrack(4, rng.uniform(0, 99, (3, 4)).astype(np.float32), rng.random())
        for query in annotations.query_sets[::2]
    }
    return build_submission(annotations.document, tracks)


@pytest.fixture
def parts(annotations, whole, tmp_path):
    return {
        tmp_path / f"{i}.json": json.loads(
            json.dumps(part_of(whole, shard_keys(annotations, i, SHARDS)))
        )
        for i in range(1, SHARDS + 1)
    }


def test_shards_divide_the_queries(annotations):
    shards = [shard_keys(annotations, i, SHARDS) for i in range(1, SHARDS + 1)]
    every = {query.key for query in annotations.query_sets}
    assert set().union(*shards) == every
    assert sum(map(len, shards)) == len(every)
    assert shard_keys(annotations, 1, 1) == every


def test_the_parts_make_the_whole_byte_for_byte(annotations, whole, parts):
    merged = merge_parts(dict(reversed(parts.items())), annotations.document)
    assert json.dumps(merged) == json.dumps(whole)
    assert any(
        p.severity == "error" for p in validate(next(iter(parts.values())), annotations.document)
    )


def test_a_missing_part_is_said_or_left_empty(annotations, whole, parts):
    few = dict(list(parts.items())[1:])
    with pytest.raises(DataError, match=r"query v0-c0-a0-q1 \(one of \d of 10\) is in no part"):
        merge_parts(few, annotations.document)
    merged = merge_parts(few, annotations.document, partial=True)
    assert [p for p in validate(merged, annotations.document) if p.severity == "error"] == []
    assert merged != whole


def test_a_query_in_two_parts_is_refused(annotations, parts):
    first = next(iter(parts))
    again = {**parts, first.with_name("again.json"): parts[first]}
    with pytest.raises(DataError, match=r"is in .*1\.json and in .*again\.json; give each part"):
        merge_parts(again, annotations.document)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda part: part.update(version="2"), "has version '2', the others '1.0.5'"),
        (lambda part: part["results"]["videos"].pop(), "has other videos, clips or annotations"),
        (lambda part: part.pop("challenge"), "is no part of a submission"),
    ],
)
def test_a_part_of_something_else_is_refused(annotations, parts, change, message):
    change(list(parts.values())[-1])
    with pytest.raises(DataError, match=message):
        merge_parts(parts, annotations.document)


def test_merge_writes_and_validates(annotations, whole, parts, tmp_path, capsys):
    for path, part in parts.items():
        path.write_text(json.dumps(part))
    names = [str(path) for path in parts]
    options = ["--annotations", str(annotations.path), "--out", str(tmp_path / "submission.json")]
    assert merge.main([*names, *options]) == 0
    assert json.loads((tmp_path / "submission.json").read_text()) == whole
    assert "0 errors" in capsys.readouterr().out
    assert merge.main([*names[:2], *options]) == 1
    assert "is in no part" in capsys.readouterr().err
