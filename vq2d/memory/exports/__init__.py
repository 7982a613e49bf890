"""Answers for other tools: COCO, MOTChallenge, CVAT, FiftyOne, supervision (docs/exports.md)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from vq2d.memory.exports.coco import write_coco
from vq2d.memory.exports.cvat import write_cvat
from vq2d.memory.exports.detections import to_detections
from vq2d.memory.exports.fiftyone import write_fiftyone
from vq2d.memory.exports.mot import write_mot
from vq2d.memory.exports.track import ExportTrack

__all__ = [
    "EXPORTS",
    "ExportTrack",
    "to_detections",
    "write_coco",
    "write_cvat",
    "write_fiftyone",
    "write_mot",
]

EXPORTS: Mapping[str, Callable[[Sequence[ExportTrack], Path], list[Path]]] = MappingProxyType(
    {"coco": write_coco, "mot": write_mot, "cvat": write_cvat, "fiftyone": write_fiftyone}
)
"""By name: writes the tracks of an answer to a folder, returns the files."""
