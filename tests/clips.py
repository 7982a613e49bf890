"""Clips of two coloured squares, and their annotations in Ego4D's form."""

from __future__ import annotations

import json

import numpy as np

W, H, FRAMES = 96, 64, 30
RED, BLUE = (230, 20, 20), (20, 40, 230)
SHOWN = {RED: [(3, 8), (15, 21)], BLUE: [(1, 4), (9, 14)]}  # half-open ranges of frames


def place(colour, i):
    left = 8 + 2 * (i % 12) + (40 if colour == BLUE else 0)
    top = 10 if colour == RED else 34
    return np.array([left, top, left + 16, top + 16], np.float32)


def frame(i, shade=90):
    shade = np.linspace(shade, 150, W)[None, :, None] + np.linspace(0, 20, H)[:, None, None]
    image = np.repeat(shade, 3, axis=2).astype(np.uint8)
    for colour, ranges in SHOWN.items():
        if any(a <= i < b for a, b in ranges):
            x1, y1, x2, y2 = place(colour, i).astype(int)
            image[y1:y2, x1:x2] = colour
    return image


def json_box(box, i):
    x1, y1, x2, y2 = (float(v) for v in box)
    return {
        "frame_number": i,
        "x": x1,
        "y": y1,
        "width": x2 - x1,
        "height": y2 - y1,
        "rotation": 0,
        "original_width": W,
        "original_height": H,
        "video_frame_number": 6 * i,
    }


def query_set(colour, crop_frame, query_frame, answer):
    return {
        "is_valid": True,
        "errors": [],
        "warnings": [],
        "query_frame": query_frame,
        "query_video_frame": 6 * query_frame,
        "object_title": str(colour),
        "visual_crop": json_box(place(colour, crop_frame), crop_frame),
        "response_track": [json_box(place(colour, i), i) for i in range(*answer)],
    }


def clip_json(uid, query_sets):
    return {
        "clip_uid": uid,
        "video_start_sec": 0.0,
        "video_end_sec": FRAMES / 5,
        "video_start_frame": 0,
        "video_end_frame": 6 * FRAMES,
        "clip_start_sec": 0,
        "clip_end_sec": FRAMES / 5,
        "clip_start_frame": 0,
        "clip_end_frame": 6 * FRAMES,
        "clip_fps": 5.0,
        "annotation_complete": True,
        "source_clip_uid": "s",
        "annotations": [{"query_sets": query_sets, "warnings": [], "annotation_uid": "a" + uid}],
    }


def write_annotations(folder, clips):
    """The validation split of one video, in the ego4d CLI's layout."""
    document = {
        "version": "1.0.5",
        "date": "220517",
        "description": "VQ",
        "manifest": "",
        "videos": [{"video_uid": "video", "split": "val", "clips": clips}],
    }
    (folder / "v2/annotations").mkdir(parents=True)
    (folder / "v2/annotations/vq_val.json").write_text(json.dumps(document))


class FramesInMemory:
    size_hw = (H, W)
    held = frozenset()

    def __init__(self, images):
        self.images = images

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        return self.images[i]
