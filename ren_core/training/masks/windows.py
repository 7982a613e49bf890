"""Windows about things with their frozen features on disk, made once, read every step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from safetensors import safe_open
from torch import Tensor

from ren_core.configuration import Count, Seed, Share, configuration
from ren_core.encoders.base import FeatureLevels, PatchEncoder, squash
from ren_core.engine.choice import autocast
from ren_core.geometry import Mask, mask_to_box, square_window
from ren_core.images import Image
from ren_core.regions import mask_on_grid
from ren_core.stages import digest, open_stage
from ren_core.training.feature_cache import picture_file, write_missing
from ren_core.training.masks.references import draw_reference
from ren_core.training.sources import RegionSource, picture_fingerprints

LEAST_SIDE = 12  # px: the longer side of the smallest things
_Zoom = Annotated[float, Field(ge=1, le=100)]


@configuration()
class WindowConfig:
    """What decides the windows of one source.

    Attributes:
        source: Name of the source.
        encoder: Name of the encoder.
        per_picture: Windows of every picture.
        zoom: Least and largest side of a window, in multiples of its thing's longer side.
        shift: A window's middle is moved by up to this share of its side.
        degrade: Chance of each fault: blur, few pixels, a wrong exposure.
        moved: Chance that a thing's other picture shows it on the ground of a third.
        seed: Of the draws; every window has a generator of its own.
    """

    source: str
    encoder: str
    per_picture: Count = 3
    zoom: tuple[_Zoom, _Zoom] = (1.2, 6.0)
    shift: Share = 0.15
    degrade: Share = 0.25
    moved: Share = 0.5
    seed: Seed = 0


@dataclass(frozen=True, slots=True)
class Window:
    """A window about a thing.

    Attributes:
        picture: (h, w, 3) uint8 RGB.
        mask: (h, w) the thing.
    """

    picture: Image
    mask: Mask


@dataclass(frozen=True, slots=True)
class PairedWindow(Window):
    """A window about a thing, and the thing in another picture.

    Attributes:
        reference: A window in another frame of its video, or in this one, changed.
    """

    reference: Window


@dataclass(frozen=True, slots=True)
class WindowSample:
    """A window as the trainer needs it.

    Attributes:
        levels: Features (C, side, side) from coarse to fine, float16.
        shares: (4g, 4g) uint8, how much of each cell the thing covers, 255 = all.
        reference: (D + 1, g, g) float16 of ``reference_maps``.
    """

    levels: tuple[Tensor, Tensor, Tensor]
    shares: NDArray[np.uint8]
    reference: Tensor


@dataclass(frozen=True, slots=True)
class WindowCache:
    """Complete windows of one source.

    Attributes:
        directory: Holds one safetensors file per picture.
        pictures: How many there are.
        per_picture: Windows in a file; a picture without things has none.
    """

    directory: Path
    pictures: int
    per_picture: int

    def read(self, picture: int, number: int) -> WindowSample | None:
        """One window; None if the picture shows no thing."""
        with safe_open(str(picture_file(self.directory, picture)), framework="pt") as file:
            if "shares" not in file.keys():  # noqa: SIM118 - no mapping
                return None
            patches, middle, fine = (file.get_slice(name)[number] for name in NAMES)
            shares = file.get_slice("shares")[number].numpy()
            reference = file.get_slice("reference")[number]
            return WindowSample((patches, middle, fine), shares, reference)


NAMES = ("patches", "middle", "fine")


def build_windows(
    source: RegionSource,
    encoder: PatchEncoder,
    config: WindowConfig,
    *,
    out: Path,
    fingerprint: str = "",
    dtype: torch.dtype = torch.float32,
) -> WindowCache:
    """Draw and encode the windows of every picture of a source that is not there yet.

    Args:
        source: Pictures with things.
        encoder: The frozen encoder, on the device where it shall run.
        config: What the windows are.
        out: Folder of the caches.
        fingerprint: Identity of the encoder's weights.
        dtype: Precision of the encoder; other than float32 it runs under autocast.
    """
    prints = picture_fingerprints(source)
    directory = open_stage(
        out,
        "windows",
        config,
        upstream=[fingerprint, str(dtype), digest(source.settings), *prints],
        code=[
            __name__,
            "ren_core.encoders.catalog",
            "ren_core.training.masks.references",
            "ren_core.training.masks.sources",
        ],
    )

    def encode(index: int) -> dict[str, Tensor]:
        windows = draw_windows(source, config, index)
        return _encoded(windows, encoder, dtype) if windows else {"none": torch.zeros(1)}

    write_missing(directory, len(prints), encode, title=f"windows of {config.source}")
    return WindowCache(directory, len(prints), config.per_picture)


def draw_windows(source: RegionSource, config: WindowConfig, index: int) -> list[PairedWindow]:
    """The windows of picture ``index``; none if it shows no thing. Depends on nothing else."""
    found = source.read(index, variant=config.seed + index)
    boxes = [mask_to_box(mask) for mask in found.masks]
    things = [
        i for i, b in enumerate(boxes) if b is not None and (b[2:] - b[:2]).max() >= LEAST_SIDE
    ]
    if not things:
        return []
    windows = []
    for number in range(config.per_picture):
        rng = np.random.default_rng([config.seed, index, number])
        thing = int(rng.choice(things))
        window = _draw(found.image, found.masks[thing], config, rng)
        seen, mask = draw_reference(source, index, found, thing, config.moved, rng)
        other = Window(_degraded(seen, config.degrade, rng), mask)
        windows.append(PairedWindow(window.picture, window.mask, other))
    return windows


def _draw(image: Image, mask: Mask, config: WindowConfig, rng: np.random.Generator) -> Window:
    box = mask_to_box(mask)
    assert box is not None
    side = float((box[2:] - box[:2]).max()) * np.exp(rng.uniform(*np.log(config.zoom)))
    middle = (box[:2] + box[2:]) / 2 + rng.uniform(-config.shift, config.shift, 2) * side
    window = square_window(middle, side, (mask.shape[0], mask.shape[1]))
    picture, part = image[window], mask[window]
    if rng.random() < 0.5:
        picture, part = picture[:, ::-1], part[:, ::-1]
    return Window(_degraded(np.ascontiguousarray(picture), config.degrade, rng), part.copy())


def _degraded(picture: Image, chance: float, rng: np.random.Generator) -> Image:
    """With some faults of a video's pictures."""
    h, w = picture.shape[:2]
    blurs, shrinks, exposes = rng.random(3) < chance
    if blurs:  # along one direction, as a moving head does
        length = int(rng.integers(3, max(4, min(h, w) // 20)))
        kernel = np.zeros((length, length), np.float32)
        kernel[length // 2] = 1 / length
        turn = cv2.getRotationMatrix2D((length / 2 - 0.5,) * 2, float(rng.uniform(0, 180)), 1)
        kernel = cv2.warpAffine(kernel, turn, (length, length))
        picture = cv2.filter2D(picture, -1, kernel / max(float(kernel.sum()), 1e-6))
    if shrinks:
        factor = float(rng.uniform(0.25, 0.7))
        small = (max(8, round(w * factor)), max(8, round(h * factor)))
        picture = cv2.resize(cv2.resize(picture, small, interpolation=cv2.INTER_AREA), (w, h))
    if exposes:
        gains = rng.uniform(0.6, 1.5) * rng.uniform(0.9, 1.1, 3)
        picture = (picture * gains).clip(0, 255).astype(np.uint8)
    return picture.astype(np.uint8)


def _encoded(
    windows: Sequence[PairedWindow], encoder: PatchEncoder, dtype: torch.dtype
) -> dict[str, Tensor]:
    grid = encoder.spec.grid
    device = next(encoder.parameters()).device
    others = [w.reference for w in windows]
    with torch.inference_mode(), autocast(device, dtype):
        levels: FeatureLevels = encoder.levels(_prepared(windows, encoder))
        patches = encoder.encode(_prepared(others, encoder)).half().cpu()
    found = {name: getattr(levels, name).half().cpu().contiguous() for name in NAMES}
    inside = torch.from_numpy(np.stack([mask_on_grid(w.mask, (grid, grid)) for w in others]))
    shares = [(mask_on_grid(w.mask, (4 * grid, 4 * grid)) * 255).round() for w in windows]
    return found | {
        "shares": torch.from_numpy(np.stack(shares).astype(np.uint8)),
        "reference": torch.cat([patches, inside[:, None].half()], dim=1),
    }


def _prepared(windows: Sequence[Window], encoder: PatchEncoder) -> Tensor:
    size = encoder.spec.input_size
    square = [
        squash(torch.from_numpy(w.picture).permute(2, 0, 1)[None].float() / 255, size)
        for w in windows
    ]
    return encoder.prepare(torch.cat(square))
