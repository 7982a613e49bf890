"""What the clips of a set show: the file, the pairs of queries and clips, the choice of some."""

from __future__ import annotations

import json

import pytest

from ren_core.errors import DataError
from tests.clips import BLUE, RED, clip_json, query_set, write_annotations
from tests.places import SAMPLE
from vq2d.ego4d.annotations import load_annotations
from vq2d.job.absence import absent_pairs, choose, load_absence, present_pairs

RED_QUERY, BLUE_QUERY = query_set(RED, 4, 28, (15, 21)), query_set(BLUE, 2, 28, (9, 14))
LIST = {
    "how": "seen",
    "clips": {
        "one": ["red", "blue"],
        "two": ["red"],
        "three": ["rose", "blue"],
        "four": [],
        "five": ["rose"],
    },
    "queries": {"v0-c0-a0-q1": "red", "v0-c0-a0-q2": "blue", "v0-c1-a0-q1": "red"},
    "twins": [["red", "rose"]],
}


@pytest.fixture
def annotations(tmp_path):
    sets = {"one": {"1": RED_QUERY, "2": BLUE_QUERY}, "two": {"1": RED_QUERY}}
    uids = ("one", "two", "three", "four", "five", "unlisted")
    write_annotations(tmp_path, [clip_json(uid, sets.get(uid, {})) for uid in uids])
    return load_annotations(tmp_path / "v2/annotations/vq_val.json")


@pytest.fixture
def absence(tmp_path):
    def read(**changes):
        path = tmp_path / "absent.json"
        path.write_text(json.dumps({**LIST, **changes}))
        return load_absence(path)

    return read


def listed(pairs):
    return [(str(pair.query.key), pair.clip.clip_uid, pair.kind) for pair in pairs]


def test_a_query_goes_to_every_listed_clip_without_its_thing(annotations, absence):
    pairs = absent_pairs(absence(), annotations)
    assert listed(pairs) == [
        ("v0-c0-a0-q1", "three", "twin"),
        ("v0-c0-a0-q1", "four", "other"),
        ("v0-c0-a0-q1", "five", "twin"),
        ("v0-c0-a0-q2", "two", "other"),
        ("v0-c0-a0-q2", "four", "other"),
        ("v0-c0-a0-q2", "five", "other"),
        ("v0-c1-a0-q1", "three", "twin"),
        ("v0-c1-a0-q1", "four", "other"),
        ("v0-c1-a0-q1", "five", "twin"),
    ]
    assert {pair.home.clip_uid for pair in pairs} == {"one", "two"}


def test_the_present_question_is_asked_of_the_querys_own_clip(annotations, absence):
    assert listed(present_pairs(absence(), annotations)) == [
        ("v0-c0-a0-q1", "one", "present"),
        ("v0-c0-a0-q2", "one", "present"),
        ("v0-c1-a0-q1", "two", "present"),
    ]


def test_the_choice_is_bounded_has_twins_first_and_is_always_the_same(annotations, absence):
    pairs = absent_pairs(absence(), annotations)
    chosen = choose(pairs, 2)
    kinds = [kind for _, _, kind in listed(chosen)]
    assert kinds == ["twin", "twin", "other", "other", "twin", "twin"]
    assert choose(pairs[::-1], 2) == chosen
    assert len(choose(pairs, 9)) == len(pairs)
    assert choose(pairs, 0) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"clips": ["one"]}, r'"clips" is \[.one.\], not an object; expected'),
        ({"clips": {"one": "red"}}, "one is 'red', not a list of names"),
        ({"clips": {"one": [1]}}, r"one is \[1\], not a list of names"),
        ({"queries": None}, '"queries" is None, not an object'),
        ({"queries": {"v0-c0-a0-q1": 3}}, "query v0-c0-a0-q1 has 3, not a name"),
        ({"twins": {}}, '"twins" is {}; expected'),
        ({"twins": ["red"]}, r"twins\[0\] is 'red', not a list of names"),
        ({"twins": [["red", "red"]]}, r"twins\[0\] is .*, not two different names"),
    ],
)
def test_another_form_is_refused(absence, changes, message):
    with pytest.raises(DataError, match=message) as refused:
        absence(**changes)
    assert "write it with tools/absent_lists.py" in str(refused.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"clips": {**LIST["clips"], "nine": []}}, r"clip nine \(one of 1\) is not in the annot"),
        ({"queries": {"v9-c0-a0-q1": "red"}}, r"query v9-c0-a0-q1 \(one of 1\) is not in the ann"),
        ({"queries": {"v0-c0-a0-q1": "rose"}}, "asks for 'rose', which its own clip one does not"),
    ],
)
def test_the_list_of_another_set_is_refused(annotations, absence, changes, message):
    with pytest.raises(DataError, match=message):
        absent_pairs(absence(**changes), annotations)


def test_a_missing_file_is_said(tmp_path):
    with pytest.raises(DataError, match="cannot read"):
        load_absence(tmp_path / "absent.json")


def test_the_list_of_the_sample_fits_its_annotations():
    annotations = load_annotations(SAMPLE / "v2/annotations/vq_val.json")
    absence = load_absence(SAMPLE / "absent.json")
    assert absent_pairs(absence, annotations)
    assert len(present_pairs(absence, annotations)) == len(annotations.query_sets)
