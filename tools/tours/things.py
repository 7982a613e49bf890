"""Things made here: packs, dishes, books, shoes and toys in unlimited identities, and their twins.

A thing is drawn from its kind and a seed, so that a pair of numbers in a specification is all that
is kept of it. Nothing of anybody else's is in it: shapes, words and pictures are computed.
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable
from dataclasses import dataclass, replace

import mujoco
import numpy as np

from tools.tours import labels, shapes
from tools.tours.errors import TourError
from tools.tours.labels import Label
from tools.tours.looks import VISUAL_GROUP, Pixels, set_pixels
from tools.tours.shapes import Surface

RESPECTS = ("colour", "word", "size", "part")
"""In what a twin may differ; a word only where one is printed."""
_WITH_WORDS = {"box", "can", "bottle", "book", "mug"}
_STEEL, _PAPER, _DARK = (176, 178, 182), (236, 230, 214), (38, 36, 40)
_COLOUR_NAMES = (
    (0.03, "red"), (0.1, "orange"), (0.18, "yellow"), (0.42, "green"), (0.52, "turquoise"),
    (0.7, "blue"), (0.8, "violet"), (0.94, "pink"), (1.0, "red"),
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Thing:
    """Which thing: its kind, its seed, and for a twin the respect in which it differs.

    Attributes:
        kind: One of ``KINDS``.
        seed: Decides everything about it.
        twin: One of ``RESPECTS``, or empty for the first of the two.
    """

    kind: str
    seed: int
    twin: str = ""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise TourError(f"kind must be one of {', '.join(KINDS)}, got {self.kind!r}")
        if self.twin and self.twin not in respects_of(self.kind):
            raise TourError(
                f"the twin of a {self.kind} differs in {', '.join(respects_of(self.kind))}, "
                f"got {self.twin!r}"
            )

    @property
    def identity(self) -> str:
        """A name that no other thing has."""
        return "-".join(filter(None, [self.kind, str(self.seed), self.twin]))

    @property
    def family(self) -> str:
        """The name that a thing shares with its twins."""
        return f"{self.kind}-{self.seed}"

    def is_alike(self, other: object) -> bool:
        """Whether one may be taken for the other."""
        return self == other

    def is_twin(self, other: object) -> bool:
        """Whether they differ in one respect only."""
        return isinstance(other, Thing) and self.family == other.family and self != other

    @property
    def title(self) -> str:
        """What a person would call it, with its number, so that titles are never shared."""
        design = design_of(self)
        size = "" if self.twin != "size" else "large " if design.scale > 1 else "small "
        named = f"{size}{_colour_name(design.label.colours[0])} {self.kind}"
        return f"{named} {design.label.word}".strip() + f" ({self.identity})"


def random_thing(seed: int, rng: np.random.Generator) -> Thing:
    """A thing of any kind; the seed decides all else about it."""
    return Thing(kind=str(rng.choice(sorted(KINDS))), seed=seed)


def random_twin(thing: Thing, rng: np.random.Generator) -> Thing:
    """A twin of a thing, different in one respect."""
    return replace(thing, twin=str(rng.choice(respects_of(thing.kind))))


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """How a thing looks.

    Attributes:
        label: What is printed on it.
        proportions: (3,) numbers 0..1 that the kind reads as it likes.
        scale: Factor of its usual size.
        part: Which of four variants its smaller part has: cap, handle, sole, ears.
        accent: Colour of that part.
    """

    label: Label
    proportions: tuple[float, float, float]
    scale: float
    part: int
    accent: labels.Rgb


Part = tuple[Surface, Pixels]


def respects_of(kind: str) -> tuple[str, ...]:
    """In what a twin of this kind may differ."""
    return tuple(r for r in RESPECTS if r != "word" or kind in _WITH_WORDS)


def design_of(thing: Thing) -> Design:
    """The look of a thing; a twin has the first one's but for its respect."""
    kind_number = sorted(KINDS).index(thing.kind)
    rng = np.random.default_rng([thing.seed, 11, kind_number])
    colours = labels.random_colours(rng)
    a, b, c = (float(v) for v in rng.random(3))
    design = Design(
        label=Label(
            colours=colours,
            pattern=str(rng.choice(labels.PATTERNS)),
            word=labels.random_word(rng) if thing.kind in _WITH_WORDS else "",
            seed=int(rng.integers(1 << 30)),
        ),
        proportions=(a, b, c),
        scale=float(rng.uniform(0.9, 1.15)),
        part=int(rng.integers(4)),
        accent=labels.random_colours(rng)[0],
    )
    return _twin_of(design, thing.twin, np.random.default_rng([thing.seed, 12, kind_number]))


def _twin_of(design: Design, respect: str, rng: np.random.Generator) -> Design:
    label = design.label
    if respect == "colour":
        shift = float(rng.uniform(0.3, 0.7))
        ground, other, panel = label.colours
        turned = labels.turn_hue(ground, shift), labels.turn_hue(other, shift), panel
        return replace(design, label=replace(label, colours=turned))
    if respect == "word":
        return replace(design, label=replace(label, word=labels.random_word(rng)))
    if respect == "size":
        return replace(design, scale=design.scale * float(rng.choice([0.72, 1.3])))
    if respect == "part":
        part = (design.part + 1 + int(rng.integers(3))) % 4
        return replace(design, part=part, accent=labels.turn_hue(design.accent, 0.5))
    return design


def model_of(thing: Thing) -> mujoco.MjSpec:
    """The thing as a model of its own, standing on the origin, its geoms in the visual group."""
    design = design_of(thing)
    spec = mujoco.MjSpec()
    body = spec.worldbody.add_body(name="object")
    for index, (surface, pixels) in enumerate(KINDS[thing.kind](design)):
        name = f"part{index}"
        mesh = spec.add_mesh(name=name)
        mesh.uservert = (surface.vertices_xyz * design.scale).ravel()
        mesh.userface = surface.faces.ravel()
        mesh.usertexcoord = surface.uv.ravel()
        mesh.inertia = mujoco.mjtMeshInertia.mjMESH_INERTIA_SHELL
        texture = spec.add_texture(name=name, type=mujoco.mjtTexture.mjTEXTURE_2D)
        set_pixels(texture, pixels)
        material = spec.add_material(name=name)
        material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = name
        material.specular, material.shininess = 0.25, 0.4
        body.add_geom(
            type=mujoco.mjtGeom.mjGEOM_MESH,
            meshname=name,
            material=name,
            group=VISUAL_GROUP,
            contype=0,
            conaffinity=0,
        )
    return spec


def _between(low: float, high: float, share: float) -> float:
    return low + share * (high - low)


def _box(design: Design) -> list[Part]:
    a, b, c = design.proportions
    size = _between(0.06, 0.14, a), _between(0.035, 0.07, b), _between(0.09, 0.2, c)
    sides = shapes.box_sides(size)
    front = labels.print_front(design.label, (256, round(256 * size[2] / size[0])))
    side = labels.print_back(design.label, (128, round(128 * size[2] / size[1])))
    top = labels.plain(design.label.colours[0])
    pictures = {"front": front, "back": front, "right": side, "left": side}
    parts = [(surface, pictures.get(name, top)) for name, surface in sides.items()]
    across, up = ((-0.25, 0.2), (0.25, 0.2), (-0.25, 0.85), (0.25, 0.85))[design.part]
    sticker = _disc(0.2 * size[0]).moved((across * size[0], -size[1] / 2 - 0.001, up * size[2]))
    return [*parts, (sticker, labels.plain(design.accent))]


def _disc(radius: float) -> Surface:
    """A flat disc that faces -y."""
    flat = shapes.lathe([(0.0, 0.0), (radius, -0.0002)])
    x, y, z = flat.vertices_xyz.T
    return Surface(np.stack([x, -z, y], axis=1), flat.faces, flat.uv)


def _book(design: Design) -> list[Part]:
    a, b, c = design.proportions
    size = _between(0.11, 0.17, a), _between(0.16, 0.23, b), _between(0.018, 0.045, c)
    sides = shapes.box_sides(size)
    cover = labels.print_front(design.label, (256, round(256 * size[1] / size[0])))
    spine = labels.plain(design.accent if design.part % 2 else design.label.colours[0])
    pages = np.array([_PAPER, (206, 198, 180)], np.uint8)[np.arange(24) % 2][:, None]
    paper = np.repeat(pages, 16, axis=1)
    pictures = {"top": cover, "bottom": cover[:, ::-1].copy(), "left": spine}
    parts = [(surface, pictures.get(name, paper)) for name, surface in sides.items()]
    if design.part >= 2:  # a ribbon over the cover
        place = (_between(-0.3, 0.3, a) * size[0], size[1] / 2, size[2] + 0.001)
        ribbon = shapes.panel(place, (0.018, 0, 0), (0, -size[1], 0))
        parts.append((ribbon, labels.plain(design.accent)))
    return parts


def _can(design: Design) -> list[Part]:
    a, b, _ = design.proportions
    radius, height = _between(0.03, 0.045, a), _between(0.06, 0.13, b)
    rim = 0.004
    wrap = labels.print_wrap(design.label, (512, round(512 * height / (6.28 * radius))))
    lid = [(0.0, height - 0.003), (radius - rim, height - 0.003), (radius - 0.001, height)]
    colour = (_STEEL, design.accent, _STEEL, design.accent)[design.part]
    parts = [
        (shapes.lathe([(radius, height - rim), (radius, rim)]), wrap),
        (shapes.lathe([*lid, (radius, height - rim)]), labels.plain(colour)),
        (shapes.lathe([(radius, rim), (radius - 0.001, 0), (0, 0)]), labels.plain(_STEEL)),
    ]
    if design.part >= 2:  # a band that tears open
        band = shapes.lathe([(radius + 0.001, 0.78 * height), (radius + 0.001, 0.68 * height)])
        parts.append((band, labels.plain(design.accent)))
    return parts


def _bottle(design: Design) -> list[Part]:
    a, b, c = design.proportions
    radius, height = _between(0.026, 0.042, a), _between(0.15, 0.25, b)
    neck, shoulder = _between(0.3, 0.5, c) * radius, _between(0.58, 0.72, c) * height
    colours = design.label.colours
    band = labels.print_wrap(design.label, (512, 200))
    glass = labels.plain(colours[1])
    low, high = 0.12 * height, 0.92 * shoulder
    body = [
        (neck, 0.9 * height),
        (neck * 1.1, 0.8 * height),
        (0.8 * radius, shoulder + 0.05 * height),
        (radius, shoulder - 0.02 * height),
        (radius, high),
    ]
    foot = [(radius, low), (radius, 0.03 * height), (0.92 * radius, 0.0), (0.0, 0.0)]
    wide, top = (1.15, 1.15, 1.9, 1.5)[design.part], (1.0, 1.06, 0.98, 1.12)[design.part]
    cap = [
        (0.0, top * height),
        (wide * neck * (0.3 if design.part == 3 else 0.95), top * height),
        (wide * neck, 0.9 * height),
        (neck, 0.89 * height),
    ]
    return [
        (shapes.lathe(body), glass),
        (shapes.lathe([(radius * 1.01, high), (radius * 1.01, low)]), band),
        (shapes.lathe(foot), glass),
        (shapes.lathe(cap), labels.plain(design.accent)),
    ]


def _mug(design: Design) -> list[Part]:
    a, b, c = design.proportions
    radius, height = _between(0.034, 0.046, a), _between(0.075, 0.11, b)
    flare = _between(0.85, 1.0, c) * radius
    wall = [(radius, height), (radius, 0.6 * height), (flare, 0.1 * height), (0.9 * flare, 0.0)]
    inner = [(0.0, 0.008), (0.85 * flare, 0.008), (0.93 * radius, height), (radius, height)]
    wrap = labels.print_wrap(design.label, (512, round(512 * height / (6.28 * radius))))
    turn = np.linspace(-0.5, 0.5, 17) * np.pi
    reach = (0.34, 0.5, 0.34, 0.5)[design.part] * height
    bulge = np.sign(np.cos(turn)) * np.abs(np.cos(turn)) ** (1.0 if design.part < 2 else 0.35)
    arc = np.stack(
        [0.95 * radius + reach * bulge, 0 * turn, 0.52 * height + 0.32 * height * np.sin(turn)],
        axis=1,
    )
    inside = design.accent if design.part % 2 else _PAPER
    return [
        (shapes.lathe(wall), wrap),
        (shapes.lathe(inner), labels.plain(inside)),
        (shapes.tube(arc, 0.0055), labels.plain(design.accent)),
    ]


def _bowl(design: Design) -> list[Part]:
    a, b, c = design.proportions
    radius, height = _between(0.05, 0.085, a), _between(0.04, 0.065, b)
    turn = np.linspace(0.5 * np.pi, 0.12 * np.pi, 12)
    round_ = _between(0.6, 1.1, c)
    curve = [(radius * np.sin(t) ** round_, height * (1 - np.cos(t) * 0.9)) for t in turn]
    outer = [*curve, (0.35 * radius, 0.0), (0.0, 0.0)]
    inner = [(0.0, 0.012), *[(0.95 * r, max(z, 0.012)) for r, z in reversed(curve)], curve[0]]
    cloth = labels.print_cloth(design.label, (512, 160))
    inside = (labels.plain(_PAPER), labels.plain(design.accent), cloth, labels.plain(_PAPER))
    rim = shapes.lathe([(1.015 * radius, height), (1.015 * radius, 0.86 * height)])
    parts = [(shapes.lathe(outer), cloth), (shapes.lathe(inner), inside[design.part])]
    if design.part in (0, 3):
        parts.append((rim, labels.plain(design.accent)))
    return parts


def _shoe(design: Design) -> list[Part]:
    a, b, c = design.proportions
    long, wide, high = _between(0.2, 0.26, a), _between(0.036, 0.045, b), _between(0.07, 0.11, c)
    along = np.linspace(0, 1, 12)
    width = wide * (0.75 + 0.3 * np.sin(np.pi * np.clip(along * 1.1, 0, 1)))
    width[0] *= 0.6
    width[-1] *= 0.35
    top = high * np.where(along < 0.4, 1.0, 1 - 0.62 * (np.clip(along - 0.4, 0, 1) / 0.6) ** 0.8)
    sole = [(x * long - long / 2, 1.08 * w, 0.0, 0.022) for x, w in zip(along, width, strict=True)]
    upper = [(x * long - long / 2, w, 0.008, t) for x, w, t in zip(along, width, top, strict=True)]
    cloth = labels.print_cloth(design.label, (384, 256))
    opening = shapes.ball((0.2 * long, 0.62 * wide, 0.012)).moved((-0.24 * long, 0, high - 0.004))
    parts = [
        (shapes.loft(sole), labels.plain(design.accent)),
        (shapes.loft(upper), cloth),
        (opening, labels.plain(_DARK)),
    ]
    for k in range(design.part + 1):  # laces
        x = (0.0 + 0.07 * k) * long
        slope = high * (1 - 0.62 * max(0.0, (x / long + 0.5 - 0.4) / 0.6) ** 0.8)
        lace = shapes.ball((0.006, 0.7 * wide, 0.006)).moved((x, 0, slope))
        parts.append((lace, labels.plain(_PAPER)))
    return parts


def _toy(design: Design) -> list[Part]:
    return _car(design) if design.label.seed % 2 else _bear(design)


def _bear(design: Design) -> list[Part]:
    a, b, c = design.proportions
    belly, head = _between(0.035, 0.05, a), _between(0.028, 0.038, b)
    cloth = labels.print_cloth(design.label, (256, 256))
    accent = labels.plain(design.accent)
    top = 1.9 * belly + head
    parts = [
        (shapes.ball((belly, 0.85 * belly, 1.1 * belly)).moved((0, 0, 1.1 * belly)), cloth),
        (shapes.ball((head, head, head)).moved((0, 0, top)), cloth),
        (shapes.ball((0.4 * head,) * 3).moved((0, -0.85 * head, top - 0.2 * head)), accent),
    ]
    dark = labels.plain(_DARK)
    reach = (0.35, 0.35, 0.5, 0.2)[design.part] * head
    long = (1.0, 1.0, 1.0, 2.6)[design.part] * reach
    for side in (-1, 1):
        ear = shapes.ball((reach, 0.4 * reach, long))
        parts.append((ear.moved((side * 0.75 * head, 0, top + 0.75 * head)), accent))
        eye = shapes.ball((0.12 * head,) * 3)
        parts.append((eye.moved((side * 0.35 * head, -0.9 * head, top + 0.25 * head)), dark))
        limb = shapes.ball((0.42 * belly, 0.42 * belly, _between(0.5, 0.8, c) * belly))
        parts.append((limb.moved((side * belly, -0.2 * belly, 1.3 * belly)), cloth))
        leg = shapes.ball((0.42 * belly, 0.75 * belly, 0.4 * belly))
        parts.append((leg.moved((side * 0.6 * belly, -0.7 * belly, 0.4 * belly)), accent))
    return parts


def _car(design: Design) -> list[Part]:
    a, b, c = design.proportions
    long, wide, high = _between(0.09, 0.15, a), _between(0.05, 0.07, b), _between(0.03, 0.045, c)
    paint = labels.print_cloth(design.label, (256, 128))
    wheel = 0.42 * high
    parts = [
        (side.moved((0, 0, wheel)), paint) for side in shapes.box_sides((long, wide, high)).values()
    ]
    cabin = (_between(0.4, 0.6, b) * long, 0.86 * wide, 0.7 * high)
    place = ((-0.12, 0.0, 0.2, -0.25)[design.part] * long, 0, wheel + high)
    roof = labels.plain(design.accent)
    windows = labels.plain((96, 128, 150))
    for name, side in shapes.box_sides(cabin).items():
        parts.append((side.moved(place), roof if name == "top" else windows))
    for x in (-0.3, 0.3):
        for y in (-1, 1):
            tyre = shapes.ball((wheel, 0.3 * wheel, wheel))
            parts.append((tyre.moved((x * long, y * wide / 2, wheel)), labels.plain(_DARK)))
            hub = shapes.ball((0.5 * wheel, 0.36 * wheel, 0.5 * wheel))
            parts.append((hub.moved((x * long, y * wide / 2, wheel)), roof))
    return parts


KINDS: dict[str, Callable[[Design], list[Part]]] = {
    "bottle": _bottle,
    "bowl": _bowl,
    "box": _box,
    "book": _book,
    "can": _can,
    "mug": _mug,
    "shoe": _shoe,
    "toy": _toy,
}


def _colour_name(colour: labels.Rgb) -> str:
    hue, saturation, value = colorsys.rgb_to_hsv(*(v / 255 for v in colour))
    if saturation < 0.2:
        return "white" if value > 0.75 else "grey"
    return next(name for limit, name in _COLOUR_NAMES if hue <= limit)
