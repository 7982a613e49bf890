"""Draw what REN makes of an image: prompts, aggregated regions, attention of chosen points."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from ren_core import REN, RegionTokens
from ren_core.commands.parsers import COMMANDS
from ren_core.drawing import (
    Picture,
    contact_sheet,
    draw_attention,
    draw_points,
    draw_regions,
    with_caption,
)
from ren_core.errors import ConfigError, DataError, ShapeError

ATTENTION_POINTS = 4
SHOWN_SIDE = 640  # px: longer side of the drawn pictures


def main(argv: Sequence[str] | None = None) -> int:
    """Draw every image with grid and with SLIC prompts."""
    args = COMMANDS["regions"].parser().parse_args(argv)
    names = ("merge_similarity", "regions", "grid_size", "input_size")
    overrides = {k: getattr(args, k) for k in names if getattr(args, k) is not None}
    try:
        models = {
            prompting: REN.from_pretrained(
                args.model, device=args.device, prompting=prompting, **overrides
            )
            for prompting in ("grid", "slic")
        }
        args.out.mkdir(parents=True, exist_ok=True)
        for path in args.images:
            picture = read_picture(path)
            target = args.out / f"{path.stem}.png"
            sheet = draw_sheet(models, picture, args.points)
            cv2.imwrite(str(target), sheet[..., ::-1])
            print(target)
    except (ConfigError, DataError, ShapeError) as err:
        print(f"regions: {err}", file=sys.stderr)
        return 1
    return 0


def read_picture(path: Path) -> Picture:
    """An image file as RGB, its longer side at most ``SHOWN_SIDE``."""
    pixels = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if pixels is None:
        raise DataError(f"{path} is no readable image; give a JPEG or PNG file")
    scale = min(1.0, SHOWN_SIDE / max(pixels.shape[:2]))
    if scale < 1:
        pixels = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(pixels[..., ::-1])


def draw_sheet(models: dict[str, REN], picture: Picture, points: Sequence[float] | None) -> Picture:
    """Rows: prompts and regions by grid; the same by SLIC; attention of points."""
    image = torch.from_numpy(picture).permute(2, 0, 1)
    panels = []
    for prompting, model in models.items():
        regions = model.encode(image[None])[0]
        panels += _region_panels(picture, prompting, regions)
    grid = next(iter(models.values()))
    chosen = _attention_points(grid.encode(image[None])[0], points)
    maps = grid.attention_maps(image, chosen).cpu().numpy()
    for point, attention in zip(chosen.tolist(), maps, strict=True):
        drawn = draw_attention(picture, attention, (point[0], point[1]))
        panels.append(
            with_caption(drawn, f"attention of (y, x) = ({point[0]:.0f}, {point[1]:.0f})")
        )
    return contact_sheet([with_caption(picture, "image"), *panels], columns=3)


def _region_panels(picture: Picture, prompting: str, regions: RegionTokens) -> list[Picture]:
    H, W = regions.size_hw
    side = regions.prompts.labels.shape[0] if regions.prompts.labels is not None else 1
    prompts = (regions.prompts.points_yx.numpy() + 0.5) * [H / side, W / side]
    dots = draw_points(picture, prompts, (255, 220, 60), 1)
    areas = draw_regions(picture, regions.labels(cover=True))
    areas = draw_points(areas, regions.points_yx.cpu().numpy(), (255, 255, 255), 2)
    return [
        with_caption(dots, f"{prompting}: {len(regions.prompts)} prompts"),
        with_caption(areas, f"{prompting}: {len(regions)} region tokens"),
    ]


def _attention_points(regions: RegionTokens, points: Sequence[float] | None) -> Tensor:
    if points is None:
        largest = regions.counts.argsort(descending=True)[:ATTENTION_POINTS]
        return regions.points_yx[largest].cpu()
    if len(points) % 2:
        raise ConfigError(f"--points needs pairs of row and column, got {len(points)} numbers")
    return torch.tensor(points).view(-1, 2)
