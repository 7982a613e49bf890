"""What rendered rooms and montages show: twins, look-alikes, and the lists that are kept."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from ren_core.errors import DataError
from tests.places import ROOT
from tools.absent_lists import Room, WheelObject, absent_list, main, read_rooms
from tools.tours.ego4d_json import ClipFacts
from vq2d.ego4d.annotations import load_annotations
from vq2d.ego4d.clips import open_clip
from vq2d.job.absence import absent_pairs, load_absence, present_pairs

LISTS = ROOT / "tools/absent"
CUP, BLUE_CUP, TEAL_CUP = WheelObject("cup"), WheelObject("cup", 0.6), WheelObject("cup", 0.5)


@pytest.mark.parametrize(
    ("a", "b", "relation"),
    [
        (CUP, CUP, "alike"),
        (CUP, BLUE_CUP, "twin"),
        (BLUE_CUP, TEAL_CUP, "alike"),
        (CUP, WheelObject("cup", 0.95), "alike"),  # hues are a circle
        (CUP, WheelObject("plate"), "other"),
        (WheelObject("green_butter"), WheelObject("butter"), "twin"),
        (WheelObject("green_butter"), WheelObject("butter", 0.37), "alike"),
        (WheelObject("blue_ketchup"), WheelObject("green_ketchup"), "twin"),
        (WheelObject("red_ramekin"), WheelObject("glazed_rim_porcelain_ramekin"), "twin"),
    ],
)
def test_colours_make_twins_unless_they_are_close(a, b, relation):
    assert a.is_alike(b) == b.is_alike(a) == (relation == "alike")
    assert a.is_twin(b) == b.is_twin(a) == (relation == "twin")


def document(*titles, frames=60):
    sets = {str(i + 1): {"is_valid": True, "object_title": t} for i, t in enumerate(titles)}
    clip = {
        "clip_uid": "one",
        "clip_end_frame": 6 * frames - 1,
        "annotations": [{"query_sets": sets}],
    }
    return {"videos": [{"clips": [clip]}]}


def test_a_clip_shows_what_stands_in_it_and_what_may_be_taken_for_it():
    rooms = [
        Room("one", {"cup": CUP, "blue cup": BLUE_CUP}),
        Room("two", {"teal cup": TEAL_CUP, "plate": WheelObject("plate")}),
    ]
    found = absent_list(rooms, document("blue cup"), "test")
    assert found["clips"] == {
        "one": ["cup", "cup@0.5", "cup@0.6"],
        "two": ["cup@0.5", "cup@0.6", "plate"],
    }
    assert found["queries"] == {"v0-c0-a0-q1": "cup@0.6"}
    assert found["twins"] == [["cup", "cup@0.5"], ["cup", "cup@0.6"]]


def test_a_query_about_nothing_in_its_room_is_refused():
    with pytest.raises(DataError, match="asks for 'plate', which the specification does not have"):
        absent_list([Room("one", {"cup": CUP})], document("plate"), "test")


TOUR = {
    "room": "kitchen",
    "seed": 3,
    "frames": 60,
    "first_source_frame": 0,
    "objects": [{"asset": "cup", "title": "cup"}, {"asset": "cup", "title": "x", "hue_shift": 0.6}],
}


def write_json(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))
    return path


def test_rooms_are_read_from_both_forms_of_specification(tmp_path):
    spec = write_json(tmp_path / "tours.json", [TOUR])
    (room,) = read_rooms(spec, {})
    assert room.clip_uid == ClipFacts("kitchen-3", 0, 60, (1, 1)).uid("clip")
    assert room.things == {"cup": CUP, "x": BLUE_CUP}
    row = {
        "scene": "study",
        "seed": 1,
        "frames": 60,
        "objects": ["red_ramekin", "akita_black_bowl"],
    }
    (example,) = read_rooms(write_json(spec, [row]), document())
    assert example.clip_uid == "one"
    assert set(example.things) == {"red ramekin", "black bowl"}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"scene": "study", "frames": 61, "objects": []}, "0 clips have the 61 frames of study"),
        ({"room": "home", "things": []}, "make_set writes the absent.json"),
    ],
)
def test_specifications_that_do_not_fit_are_refused(tmp_path, row, message):
    with pytest.raises(DataError, match=message):
        read_rooms(write_json(tmp_path / "tours.json", [row]), document())


def test_the_command_writes_the_list_beside_the_set(tmp_path, capsys):
    row = {"scene": "study", "seed": 1, "frames": 60, "objects": ["red_ramekin"]}
    spec = write_json(tmp_path / "tours.json", [row])
    annotations = tmp_path / "set/v2/annotations/vq_val.json"
    write_json(annotations, document("red ramekin"))
    arguments = ["--tours", str(spec), "--data", str(tmp_path / "set")]
    assert main(arguments) == 0
    assert json.loads((tmp_path / "set/absent.json").read_text())["clips"] == {
        "one": ["red_ramekin"]
    }
    write_json(annotations, document("plate"))
    assert main([*arguments, "--out", str(tmp_path / "other.json")]) == 1
    assert "asks for 'plate'" in capsys.readouterr().err
    assert not (tmp_path / "other.json").exists()


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "present", "other", "twin"), [("realvq_dev", 24, 37, 0), ("synvq_dev", 16, 16, 4)]
)
def test_the_kept_lists_fit_the_shared_sets(shared, name, present, other, twin):
    annotations = load_annotations(shared / f"data/{name}/v2/annotations/vq_val.json")
    absence = load_absence(LISTS / f"{name}.json")
    kinds = [pair.kind for pair in absent_pairs(absence, annotations)]
    assert (kinds.count("other"), kinds.count("twin")) == (other, twin)
    assert len(present_pairs(absence, annotations)) == present


@pytest.mark.data
def test_every_crop_and_track_of_the_montages_lies_in_a_shot_of_its_thing(shared):
    annotations = load_annotations(shared / "data/realvq_dev/v2/annotations/vq_val.json")
    listed = json.loads((LISTS / "realvq_dev.json").read_text())
    for clip in annotations.clips:
        shots = listed["shots"][clip.clip_uid]
        assert sorted({name for _, _, name in shots}) == listed["clips"][clip.clip_uid]
        name_at = [name for first, last, name in shots for _ in range(first, last + 1)]
        assert len(name_at) == clip.num_frames
        for query in clip.queries:
            track = query.response
            shown = {name_at[query.crop_frame], *name_at[track.start_frame : track.end_frame]}
            assert shown == {listed["queries"][str(query.key)]}


def small(picture):
    """A picture as a unit vector of grey levels: brightness and contrast do not count."""
    grey = cv2.resize(picture, (48, 27), interpolation=cv2.INTER_AREA).mean(axis=2).ravel()
    return (grey - grey.mean()) / np.linalg.norm(grey - grey.mean())


def montage_shots(root):
    """Name and small pictures of every listed shot, without the black bars above and below."""
    shots = json.loads((LISTS / "realvq_dev.json").read_text())["shots"]
    for clip in load_annotations(root / "v2/annotations/vq_val.json").clips:
        frames = open_clip(root, clip)
        H, W = frames.size_hw
        bars = max(0, (H - round(W * 480 / 854)) // 2)
        seen = np.stack([small(frames[i][bars : H - bars]) for i in range(len(frames))])
        for first, last, name in shots[clip.clip_uid]:
            yield name, seen[first : last + 1]


@pytest.mark.data
@pytest.mark.slow
def test_every_shot_of_the_montages_is_like_its_sequence_and_like_no_other(shared):
    """Evidence for the names in ``realvq_dev.json``, by correlation of grey levels."""
    davis = [
        (folder.name, np.stack([small(cv2.imread(str(file))) for file in folder.glob("*.jpg")]))
        for folder in (shared / "data/eval/davis_dev/frames").iterdir()
    ]
    shots = list(montage_shots(shared / "data/realvq_dev"))
    assert len(shots) == 81
    for i, (name, pictures) in enumerate(shots):
        others = [*davis, *shots[:i], *shots[i + 1 :]]
        likeness = [(known == name, (pictures @ like.T).max()) for known, like in others]
        own = max(value for is_own, value in likeness if is_own)
        assert own > 0.1 + max(value for is_own, value in likeness if not is_own)
