"""A sheet to look at: per query its crop, the crop's frame, three frames of the track, the end."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from tools.tours.video import Picture, read_video

CELL_WH = (224, 168)
_CROP, _TRACK = (255, 255, 255), (0, 255, 0)


def contact_sheet(annotations: dict[str, Any], clips: Path, *, columns: int = 2) -> Image.Image:
    """Rows for all queries of an annotation file, in ``columns`` columns."""
    rows = []
    for video in annotations["videos"]:
        for clip in video["clips"]:
            frames = _annotated_frames(clips / f"{clip['clip_uid']}.mp4", clip)
            for annotation in clip["annotations"]:
                rows += [_row(frames, query) for query in annotation["query_sets"].values()]
    height, width = rows[0].shape[:2]
    deep = -(-len(rows) // columns)
    sheet = np.zeros((deep * height, columns * width, 3), np.uint8)
    for index, row in enumerate(rows):
        top, left = index % deep * height, index // deep * width
        sheet[top : top + height, left : left + width] = row
    return Image.fromarray(sheet)


def _annotated_frames(path: Path, clip: dict[str, Any]) -> list[Picture]:
    frames = read_video(path)
    step = round(len(frames) / ((clip["clip_end_frame"] + 1) / 6))
    return frames[::step]


def _row(frames: Sequence[Picture], query: dict[str, Any]) -> Picture:
    crop, track = query["visual_crop"], query["response_track"]
    picture = Image.fromarray(frames[crop["frame_number"]]).crop(_corners(crop))
    picture.thumbnail(CELL_WH)
    first = Image.new("RGB", CELL_WH)
    first.paste(picture)
    ImageDraw.Draw(first).text((4, CELL_WH[1] - 14), query["object_title"], fill=_CROP)
    boxes = [track[0], track[len(track) // 2], track[-1]]
    cells = [first, _cell(frames, crop["frame_number"], crop, _CROP)]
    cells += [_cell(frames, box["frame_number"], box, _TRACK) for box in boxes]
    cells.append(_cell(frames, query["query_frame"], None, _TRACK))
    return np.concatenate([np.asarray(cell) for cell in cells], axis=1)


def _cell(
    frames: Sequence[Picture], index: int, box: dict[str, Any] | None, colour: tuple[int, int, int]
) -> Image.Image:
    picture = Image.fromarray(frames[index])
    scale = min(CELL_WH[0] / picture.width, CELL_WH[1] / picture.height)
    cell = Image.new("RGB", CELL_WH)
    cell.paste(picture.resize((round(scale * picture.width), round(scale * picture.height))))
    draw = ImageDraw.Draw(cell)
    if box is not None:
        draw.rectangle([v * scale for v in _corners(box)], outline=colour)
    draw.text((3, 1), str(index), fill=(255, 64, 64))
    return cell


def _corners(box: dict[str, Any]) -> tuple[float, float, float, float]:
    return (box["x"], box["y"], box["x"] + box["width"], box["y"] + box["height"])
