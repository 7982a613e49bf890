"""Colours, textures and light: recoloured twins of objects and randomised rooms."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import mujoco
import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]

VISUAL_GROUP = 1
"""Geoms that are seen; MuJoCo draws no others here."""
MAX_TEXTURE = 1024
"""Longest side, in pixels, that a texture is loaded with."""


@dataclass(frozen=True, slots=True)
class Paint:
    """A change of colour.

    Attributes:
        hue_shift: Turn of the colour circle, 0..1; grey stays grey.
        tint_rgb: Factors of red, green and blue, 0..1.
    """

    hue_shift: float = 0.0
    tint_rgb: tuple[float, float, float] = (1.0, 1.0, 1.0)


def random_paint(rng: np.random.Generator) -> Paint:
    """Any hue; a tint that is mostly weak, now and then strong."""
    weakest = 0.35 if rng.random() < 0.3 else 0.75
    red, green, blue = rng.uniform(weakest, 1.0, 3)
    return Paint(float(rng.random()), (float(red), float(green), float(blue)))


@lru_cache(maxsize=64)
def load_texture(path: Path) -> Pixels:
    """The picture (H, W, 3) of a texture file, shrunk to ``MAX_TEXTURE``."""
    with Image.open(path) as image:
        image.thumbnail((MAX_TEXTURE, MAX_TEXTURE))
        return np.asarray(image.convert("RGB"))


def recolour(pixels: Pixels, paint: Paint) -> Pixels:
    """A picture (H, W, 3) with its hues turned and its channels scaled."""
    hsv = np.array(Image.fromarray(pixels).convert("HSV"))
    hsv[..., 0] += np.uint8(round(paint.hue_shift * 256) % 256)  # uint8 wraps like a circle
    turned = np.asarray(Image.fromarray(hsv, "HSV").convert("RGB"), np.float32)
    return (turned * np.array(paint.tint_rgb, np.float32)).astype(np.uint8)


def procedural_texture(rng: np.random.Generator, size: int = 256) -> Pixels:
    """A picture (size, size, 3) of two or three colours mixed by noise, stripes or tiles."""
    colours = rng.uniform(0, 255, (3, 3)).astype(np.float32)
    if rng.random() < 0.5:  # near-uniform, as painted walls and table tops are
        colours = colours[:1] + rng.normal(0, 14, (3, 3)).astype(np.float32)
    kind = rng.choice(["noise", "stripes", "tiles"], p=[0.6, 0.2, 0.2])
    if kind == "noise":
        weight = _noise(rng, size)
    else:
        period = int(rng.integers(8, 64))
        stripe = (np.arange(size) // period) % 2
        rows = stripe[:, None] if kind == "tiles" else np.zeros((size, 1), np.int64)
        weight = (np.bitwise_xor(rows, stripe[None]) * 0.8).astype(np.float32)
    grain = _noise(rng, size)[..., None] * 0.5
    mixed = colours[0] + weight[..., None] * (colours[1] - colours[0])
    mixed += grain * (colours[2] - mixed) * rng.uniform(0, 0.8)
    return np.clip(mixed, 0, 255).astype(np.uint8)


def _noise(rng: np.random.Generator, size: int) -> NDArray[np.float32]:
    return grain(rng, size, int(rng.choice([1, 1, 4, 8])))


def grain(rng: np.random.Generator, size: int, aspect: int) -> NDArray[np.float32]:
    """Smooth noise (size, size) in 0..1: random grids of several widths, added up.

    Drawn out ``aspect`` times in height, it looks like wood or fabric.
    """
    total = np.zeros((size, size), np.float32)
    for cells in (4, 8, 16, 32, 64):
        grid = Image.fromarray(rng.random((max(2, cells // aspect), cells), np.float32))
        layer = grid.resize((size, size), Image.Resampling.BICUBIC)
        total += np.asarray(layer) / cells**0.6
    total -= total.min()
    return total / total.max()


def set_pixels(texture: mujoco.MjsTexture, pixels: Pixels) -> None:
    """Replace what a texture shows; a cube texture gets the picture on all six sides."""
    if texture.type != mujoco.mjtTexture.mjTEXTURE_2D:
        side = min(pixels.shape[:2])
        pixels = np.tile(pixels[:side, :side], (6, 1, 1))
    texture.file = ""
    texture.height, texture.width, texture.nchannel = pixels.shape
    texture.data = pixels.tobytes()


def paint_textures(spec: mujoco.MjSpec, folder: Path, paint: Paint) -> None:
    """Load every texture file of a model from ``folder`` and recolour it."""
    for texture in spec.textures:
        if texture.file:
            set_pixels(texture, recolour(load_texture(folder / texture.file), paint))


def randomise_room(spec: mujoco.MjSpec, folder: Path, rng: np.random.Generator) -> None:
    """New textures or colours for furniture, floor and walls, and another light."""
    for texture in spec.textures:
        if not texture.file:
            continue
        draw = rng.random()
        if draw < 0.5:
            set_pixels(texture, procedural_texture(rng, 512))
        elif draw < 0.85:
            set_pixels(texture, recolour(load_texture(folder / texture.file), random_paint(rng)))

    warmth = rng.uniform(-0.12, 0.12)
    white = np.array([1 + warmth, 1.0, 1 - warmth])
    spec.visual.headlight.ambient = rng.uniform(0.3, 0.55) * white
    spec.visual.headlight.diffuse = rng.uniform(0.25, 0.5) * white
    for light in spec.lights:
        light.pos = np.array([*rng.uniform(-2.5, 2.5, 2), rng.uniform(2.0, 4.0)])
        light.diffuse = rng.uniform(0.3, 0.8) * white
