"""Training pictures from the clips of an Ego4D folder, for pipelines/extract_regions.py --images.

One frame per 15 s of every VQ2D train clip, as small as the released REN was trained on:

    python pipelines/extract_frames.py --data ~/ego4d_data --out runs/frames

Each clip is a subfolder. A run that is given again goes on with what is missing or was damaged.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2

from ren_core.command import exit_code, typed_fields
from ren_core.errors import ConfigError, DataError
from ren_core.images import Image
from ren_core.progress import tqdm
from ren_core.stages import atomic_path, file_fingerprint, open_stage, write_json
from vq2d.commands.frame_config import FrameConfig
from vq2d.commands.parsers import COMMANDS
from vq2d.ego4d.annotations import Clip, annotation_path, load_annotations
from vq2d.ego4d.clips import clip_file, open_clip

JPEG_QUALITY = 95

logger = logging.getLogger("extract_frames")


def main(argv: Sequence[str] | None = None) -> int:
    """Extract what is not there yet; 0 done, 1 some clips failed, 2 usage."""
    args = COMMANDS["extract-frames"].parser("vq2d extract-frames").parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    return exit_code(lambda: run(args))


def run(args: argparse.Namespace) -> int:
    """Extract what is not there yet; 1 if a clip could not be read."""
    config = FrameConfig(**typed_fields(args, FrameConfig))
    annotations = load_annotations(annotation_path(args.data, args.split))
    clips = {clip_name(clip): clip for clip in annotations.clips}
    chosen = sorted(clips)[: args.limit]
    out = open_stage(args.out, "frames", config, code=__name__)
    done = read_manifest(out)
    todo = [
        name
        for name in chosen
        if args.overwrite or not is_done(done.get(name, {}), args.data, clips[name])
    ]
    logger.info("frames: %d of %d clips to do in %s", len(todo), len(chosen), out)
    for name in tqdm(todo, desc="clips", disable=None):
        done[name] = extract_clip(args.data, clips[name], config, out / name)
        write_json(out / "manifest.json", done)

    failed = [name for name in chosen if "error" in done[name]]
    for name in failed:
        logger.warning("%s: %s", name, done[name]["error"])
    count = sum(done[name].get("frames", 0) for name in chosen)
    logger.info("frames: %d of %d clips, %d failed", count, len(chosen), len(failed))
    print(out)
    return 1 if failed else 0


def clip_name(clip: Clip) -> str:
    """Folder of a clip: its uid, or its video and first frame where it has none."""
    return clip.clip_uid or f"{clip.video_uid}-{clip.video_start_frame}"


def read_manifest(out: Path) -> dict[str, dict[str, Any]]:
    """What is known of every clip: its number of ``frames`` and its file, or its ``error``."""
    path = out / "manifest.json"
    known: dict[str, dict[str, Any]] = json.loads(path.read_text()) if path.is_file() else {}
    return known


def is_done(record: Mapping[str, Any], root: Path, clip: Clip) -> bool:
    """Whether the clip's pictures are there, made of its present file or of one since deleted."""
    path = clip_file(root, clip)
    if "frames" not in record or path is None:
        return "frames" in record
    return bool(record["fingerprint"] == file_fingerprint(path))


def extract_clip(root: Path, clip: Clip, config: FrameConfig, folder: Path) -> dict[str, Any]:
    """Write the pictures of a clip; none of a clip that cannot be read to its end."""
    try:
        video = open_clip(root, clip)
        images = {i: shrink(video[i], config) for i in range(0, len(video), config.take_every)}
    except (ConfigError, DataError) as err:  # ConfigError: the annotated frame rate is invalid
        return {"error": str(err)}
    for frame_idx, image in images.items():
        _, data = cv2.imencode(
            ".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
        )
        with atomic_path(folder / f"{frame_idx:06d}.jpg") as tmp:
            tmp.write_bytes(data.tobytes())
    return {"frames": len(images), "fingerprint": file_fingerprint(video.path)}


def shrink(image: Image, config: FrameConfig) -> Image:
    """The image with both sides in bounds and its shape kept; never larger than it was."""
    H, W = image.shape[:2]
    scale = min(1, config.short_side / min(H, W), config.long_side / max(H, W))
    if scale == 1:
        return image
    size_wh = (max(1, round(W * scale)), max(1, round(H * scale)))
    small: Image = cv2.resize(image, size_wh, interpolation=cv2.INTER_AREA)
    return small
