"""CVAT for video, read as XML and by datumaro."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from vq2d.memory.exports import write_cvat


def boxes_of(track):
    """Frames, boxes and whether each is outside, of a ``track`` element."""
    found = track.findall("box")
    boxes = [[float(box.get(edge)) for edge in ("xtl", "ytl", "xbr", "ybr")] for box in found]
    assert {(box.get("keyframe"), box.get("occluded"), box.get("z_order")) for box in found} == {
        ("1", "0", "0")
    }
    frames = [int(box.get("frame")) for box in found]
    return frames, np.array(boxes), [box.get("outside") == "1" for box in found]


def test_every_box_is_read_back(tmp_path, answer):
    files = write_cvat(answer, tmp_path)
    assert [path.name for path in files] == ["Küche & <Flur>.xml", "garden.xml"]
    elements = [track for path in files for track in ET.parse(path).getroot().iter("track")]
    for track_id, (track, element) in enumerate(zip(answer, elements, strict=True), start=1):
        assert element.attrib == {"id": str(track_id), "label": track.label, "source": "auto"}
        frames, boxes, outside = boxes_of(element)
        once = track.each_frame_once()
        T = len(once.source_frames)
        assert frames[:T] == once.source_frames.tolist()
        assert np.abs(boxes[:T] - once.boxes_xyxy).max() <= 0.005
        assert not any(outside[:T])


def test_a_track_ends_one_frame_after_its_last_unless_the_file_does(tmp_path, answer):
    first, later = ET.parse(write_cvat(answer, tmp_path)[0]).getroot().iter("track")
    frames, boxes, outside = boxes_of(first)
    assert (frames[-2:], outside[-2:]) == ([30, 31], [False, True])
    assert np.array_equal(boxes[-1], boxes[-2])
    frames, _, outside = boxes_of(later)
    assert (frames[-1], outside[-1]) == (89, False)


def test_the_file_says_what_it_is_about(tmp_path, answer):
    root = ET.parse(write_cvat(answer, tmp_path)[0]).getroot()
    assert root.findtext("version") == "1.1"
    task = root.find("meta/task")
    assert {part.tag: part.text for part in task if not len(part)} == {
        "name": "Küche & <Flur>.mp4",
        "size": "90",
        "mode": "interpolation",
        "overlap": "0",
        "start_frame": "0",
        "stop_frame": "89",
    }
    assert [label.text for label in task.iter("name")][1:] == [answer[0].label]
    size = task.find("original_size")
    assert (size.findtext("width"), size.findtext("height")) == ("64", "48")


def test_characters_that_xml_has_not(tmp_path, sighting):
    odd = replace(sighting, label="a\x00b\ud800c")
    root = ET.parse(write_cvat([odd], tmp_path)[0]).getroot()
    assert root.find("track").get("label") == "a\ufffdb\ufffdc" == root.findtext(".//label/name")


def test_an_answer_without_tracks(tmp_path):
    (path,) = write_cvat([], tmp_path)
    root = ET.parse(path).getroot()
    assert (path.name, root.tag, root.findtext("version")) == ("nothing.xml", "annotations", "1.1")
    assert root.find("meta/task") is not None
    assert root.find("track") is None


@pytest.mark.filterwarnings("ignore")
def test_datumaro_reads_it(tmp_path, answer):
    datumaro = pytest.importorskip("datumaro")
    for path in write_cvat(answer, tmp_path):
        found = {}
        for item in datumaro.Dataset.import_from(str(path), "cvat"):
            for box in item.annotations:
                if not box.attributes["outside"]:
                    boxes = found.setdefault(box.attributes["track_id"], {})
                    boxes[item.attributes["frame"]] = box.points
        for track_id, boxes in found.items():
            once = answer[track_id - 1].each_frame_once()
            assert sorted(boxes) == once.source_frames.tolist()
            read = np.array([boxes[frame] for frame in sorted(boxes)])
            assert np.abs(read - once.boxes_xyxy).max() < 0.01
