"""Pictures for the surfaces of made things: words, bars, patterns, painted fruit and skies."""

from __future__ import annotations

import colorsys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tools.tours.looks import Pixels

Rgb = tuple[int, int, int]

PATTERNS = ("plain", "stripes", "bands", "dots", "checks", "zigzag", "picture")
_CONSONANTS, _VOWELS = "bdfgklmnprstvz", "aeiou"
_WHITE, _BLACK = (245, 244, 240), (28, 28, 32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """What is printed on a thing.

    Attributes:
        colours: Ground, pattern and panel.
        pattern: One of ``PATTERNS``.
        word: Printed large; empty for none.
        seed: Decides places and sizes of everything printed.
    """

    colours: tuple[Rgb, Rgb, Rgb]
    pattern: str
    word: str
    seed: int


def random_word(rng: np.random.Generator) -> str:
    """Two or three syllables that mean nothing."""
    parts = (
        str(rng.choice(list(_CONSONANTS))) + str(rng.choice(list(_VOWELS)))
        for _ in range(rng.integers(2, 4))
    )
    return "".join(parts).upper()


def random_colours(rng: np.random.Generator) -> tuple[Rgb, Rgb, Rgb]:
    """A ground, a pattern that stands out from it and a pale or dark panel."""
    hue = float(rng.random())
    strength = rng.uniform(0.0, 0.25) if rng.random() < 0.2 else rng.uniform(0.4, 0.9)
    ground = _rgb(hue, strength, rng.uniform(0.35, 0.9))
    other = _rgb(hue + rng.uniform(0.25, 0.75), rng.uniform(0.3, 0.85), rng.uniform(0.4, 0.95))
    panel = _WHITE if rng.random() < 0.7 else _BLACK
    return ground, other, panel


def turn_hue(colour: Rgb, shift: float) -> Rgb:
    """A colour whose hue is turned by ``shift`` of the circle; a greyish one gets a strong hue."""
    hue, saturation, value = colorsys.rgb_to_hsv(*(v / 255 for v in colour))
    return _rgb(hue + shift, saturation if saturation > 0.35 else 0.7, max(value, 0.4))


def print_front(label: Label, size_wh: tuple[int, int]) -> Pixels:
    """The side of a pack that faces the buyer: pattern, panel, word, small print."""
    rng = np.random.default_rng([label.seed, 1])
    image = _ground(label, size_wh, rng)
    if label.word:
        _panel_with_word(image, label, rng)
    return np.asarray(image)


def print_back(label: Label, size_wh: tuple[int, int]) -> Pixels:
    """A side with small print and bars on the ground colour."""
    rng = np.random.default_rng([label.seed, 2])
    image = Image.new("RGB", size_wh, label.colours[0])
    draw = ImageDraw.Draw(image)
    width, height = size_wh
    top = int(0.12 * height)
    for y in range(top, int(0.55 * height), max(4, height // 22)):
        draw.line([(0.12 * width, y), (rng.uniform(0.5, 0.88) * width, y)], label.colours[2], 2)
    left, low = int(0.25 * width), int(0.66 * height)
    draw.rectangle([left - 4, low - 4, int(0.75 * width) + 4, int(0.88 * height)], _WHITE)
    x = left
    while x < 0.75 * width:
        bar = int(rng.integers(1, 5))
        draw.rectangle([x, low, x + bar - 1, int(0.84 * height)], _BLACK)
        x += bar + int(rng.integers(1, 5))
    return np.asarray(image)


def print_wrap(label: Label, size_wh: tuple[int, int]) -> Pixels:
    """A label that goes round a can or bottle: the front, twice as bars go between."""
    width, height = size_wh
    front, back = (width * 3 // 8, height), (width // 8, height)
    half = np.concatenate([print_front(label, front), print_back(label, back)], axis=1)
    return np.concatenate([half, half], axis=1)


def print_cloth(label: Label, size_wh: tuple[int, int]) -> Pixels:
    """Ground and pattern without print, as on a bowl or a toy."""
    return np.asarray(_ground(label, size_wh, np.random.default_rng([label.seed, 3])))


def plain(colour: Rgb) -> Pixels:
    """A small picture of one colour."""
    return np.full((16, 16, 3), colour, np.uint8)


def _rgb(hue: float, saturation: float, value: float) -> Rgb:
    red, green, blue = colorsys.hsv_to_rgb(hue % 1, saturation, value)
    return round(255 * red), round(255 * green), round(255 * blue)


def _ground(label: Label, size_wh: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    image = Image.new("RGB", size_wh, label.colours[0])
    if label.pattern != "plain":
        _PAINTERS[label.pattern](image, label, rng)
    return image


def _panel_with_word(image: Image.Image, label: Label, rng: np.random.Generator) -> None:
    width, height = image.size
    draw = ImageDraw.Draw(image)
    middle, half = rng.uniform(0.2, 0.5) * height, rng.uniform(0.1, 0.17) * height
    panel = [0.06 * width, middle - half, 0.94 * width, middle + half]
    draw.rounded_rectangle(panel, radius=rng.choice([0.0, 0.4, 1.0]) * half, fill=label.colours[2])
    size = 10
    while size < 1.5 * half and _text_width(draw, label.word, size + 2) < 0.8 * width:
        size += 2
    ink = label.colours[0] if label.colours[2] == _WHITE else _WHITE
    font = ImageFont.load_default(size)
    draw.text(((panel[0] + panel[2]) / 2, middle), label.word, ink, font, anchor="mm")
    for k in range(int(rng.integers(1, 4))):
        y = middle + half + (0.05 + 0.035 * k) * height
        draw.line([(0.2 * width, y), (rng.uniform(0.5, 0.8) * width, y)], label.colours[2], 2)


def _text_width(draw: ImageDraw.ImageDraw, word: str, size: int) -> float:
    return draw.textlength(word, ImageFont.load_default(size))


def _stripes(image: Image.Image, label: Label, rng: np.random.Generator) -> None:
    width, height = image.size
    draw = ImageDraw.Draw(image)
    step, slant = width / rng.integers(4, 10), rng.uniform(-0.5, 0.5) * height
    for k in range(-8, 20):
        x = k * step
        corners = [(x, 0), (x + step / 2, 0), (x + step / 2 + slant, height), (x + slant, height)]
        draw.polygon(corners, label.colours[1])


def _bands(image: Image.Image, label: Label, rng: np.random.Generator) -> None:
    width, height = image.size
    draw = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(1, 4))):
        y, thick = rng.uniform(0.05, 0.9) * height, rng.uniform(0.03, 0.15) * height
        draw.rectangle([0, y, width, y + thick], label.colours[1])


def _dots(image: Image.Image, label: Label, rng: np.random.Generator) -> None:
    width, height = image.size
    draw = ImageDraw.Draw(image)
    step = min(width, height) / rng.integers(3, 7)
    radius = step * rng.uniform(0.2, 0.38)
    for row in range(int(height / step) + 2):
        for column in range(int(width / step) + 2):
            x, y = (column + row % 2 / 2) * step, row * step
            draw.ellipse([x - radius, y - radius, x + radius, y + radius], label.colours[1])


def _checks(image: Image.Image, label: Label, rng: np.random.Generator) -> None:
    width, height = image.size
    draw = ImageDraw.Draw(image)
    step = min(width, height) / rng.integers(3, 8)
    for row in range(int(height / step) + 1):
        for column in range(row % 2, int(width / step) + 1, 2):
            x, y = column * step, row * step
            draw.rectangle([x, y, x + step, y + step], label.colours[1])


def _zigzag(image: Image.Image, label: Label, rng: np.random.Generator) -> None:
    width, height = image.size
    draw = ImageDraw.Draw(image)
    step, thick = width / rng.integers(4, 9), max(2, int(width * rng.uniform(0.02, 0.05)))
    for y in np.arange(0, height + step, step * 1.5):
        line = [(k * step / 2, y + (k % 2) * step / 2) for k in range(2 * int(width / step) + 3)]
        draw.line(line, label.colours[1], thick)


def _picture(image: Image.Image, label: Label, rng: np.random.Generator) -> None:
    """Round, shaded shapes before a sky that fades: like a photograph of fruit."""
    width, height = image.size
    y, x = np.mgrid[:height, :width].astype(np.float32)
    ground, other, _ = (np.array(c, np.float32) for c in label.colours)
    canvas = ground + (y / height)[..., None] * (0.5 * other - 0.3 * ground)
    for _ in range(int(rng.integers(4, 9))):
        radius = rng.uniform(0.1, 0.24) * min(width, height)
        centre = rng.uniform(0, 1, 2) * (width, height) * (1, 0.5) + (0, 0.5 * height)
        far = np.hypot(x - centre[0], (y - centre[1]) * rng.uniform(0.8, 1.2)) / radius
        light = np.hypot(x - centre[0] + radius / 3, y - centre[1] + radius / 3) / radius
        colour = other * rng.uniform(0.6, 1.1) + rng.normal(0, 14, 3)
        shaded = colour * (1.15 - 0.5 * light[..., None])
        canvas = np.where(far[..., None] < 1, shaded, canvas)
    image.paste(Image.fromarray(np.clip(canvas, 0, 255).astype(np.uint8)))


_PAINTERS: dict[str, Callable[[Image.Image, Label, np.random.Generator], None]] = {
    "stripes": _stripes,
    "bands": _bands,
    "dots": _dots,
    "checks": _checks,
    "zigzag": _zigzag,
    "picture": _picture,
}
