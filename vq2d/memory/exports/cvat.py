"""CVAT for video 1.1: one XML file per video, a key frame for each box."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree as ET

from ren_core.geometry import Boxes
from ren_core.stages import write_text
from vq2d.memory.exports.track import DECIMALS, NOTHING, ExportTrack, VideoTracks, by_video

NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that no XML file may hold, however they are written."""


def write_cvat(tracks: Sequence[ExportTrack], target: Path) -> list[Path]:
    """Write ``NAME.xml`` for each video, to be uploaded to its job in CVAT.

    Frames are the file's, 0-based; boxes are 0-based pixels, right and lower edge one past the
    last pixel. CVAT moves a box evenly between two key frames, and hides it one frame after the
    last. Masks and scores are not written.

    Args:
        tracks: The answer; one without tracks becomes ``nothing.xml``.
        target: The folder.

    Raises:
        DataError: If tracks of one video do not agree about its file.
    """
    written = []
    for video in by_video(tracks):
        written.append(target / f"{video.name}.xml")
        write_text(written[-1], _text(_document(video)))
    if not written:
        written = [target / f"{NOTHING}.xml"]
        write_text(written[0], _text(_root()[0]))
    return written


def _text(root: ET.Element) -> str:
    ET.indent(root)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _legal(text: str) -> str:
    return NOT_IN_XML.sub("\ufffd", text)


def _root() -> tuple[ET.Element, ET.Element]:
    """A document without annotations, and its still empty ``task``."""
    root = ET.Element("annotations")
    ET.SubElement(root, "version").text = "1.1"
    return root, ET.SubElement(ET.SubElement(root, "meta"), "task")


def _document(video: VideoTracks) -> ET.Element:
    root, task = _root()
    _describe(task, video)
    for track_id, track in video.tracks.items():
        facts = {"id": str(track_id), "label": _legal(track.label), "source": "auto"}
        _add_boxes(ET.SubElement(root, "track", facts), track)
    return root


def _describe(task: ET.Element, video: VideoTracks) -> None:
    """What the file is, and which labels there are."""
    H, W = video.file.size_hw
    frames = video.file.num_source_frames
    facts = {
        "name": _legal(video.file.video.name),
        "size": frames,
        "mode": "interpolation",
        "overlap": 0,
        "start_frame": 0,
        "stop_frame": frames - 1,
    }
    for name, value in facts.items():
        ET.SubElement(task, name).text = str(value)
    labels = ET.SubElement(task, "labels")
    for name in dict.fromkeys(_legal(track.label) for track in video.tracks.values()):
        label = ET.SubElement(labels, "label")
        ET.SubElement(label, "name").text = name
        ET.SubElement(label, "attributes")
    size = ET.SubElement(task, "original_size")
    ET.SubElement(size, "width").text = str(W)
    ET.SubElement(size, "height").text = str(H)


def _add_boxes(parent: ET.Element, track: ExportTrack) -> None:
    frames = track.source_frames.tolist()
    for frame, box in zip(frames, track.boxes_xyxy, strict=True):
        _add_box(parent, frame, box, outside=False)
    after = frames[-1] + 1
    if after < track.num_source_frames:
        _add_box(parent, after, track.boxes_xyxy[-1], outside=True)


def _add_box(parent: ET.Element, frame: int, box_xyxy: Boxes, *, outside: bool) -> None:
    flags = {"frame": frame, "outside": int(outside), "occluded": 0, "keyframe": 1}
    edges = zip(("xtl", "ytl", "xbr", "ybr"), box_xyxy.tolist(), strict=True)
    ET.SubElement(
        parent,
        "box",
        {name: str(flag) for name, flag in flags.items()}
        | {name: f"{edge:.{DECIMALS}f}" for name, edge in edges}
        | {"z_order": "0"},
    )
