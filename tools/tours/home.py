"""Rooms made here: floor, walls, tables, shelves and seats of boxes, with computed surfaces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import mujoco
import numpy as np

from tools.tours import labels
from tools.tours.errors import TourError
from tools.tours.looks import VISUAL_GROUP, Pixels, grain, procedural_texture, set_pixels
from tools.tours.shapes import Points

HOME = "home"
"""Name of these rooms in a specification; what stands where follows from its seed."""
WALL_X, WALL_Y, WALL_HEIGHT = (-2.1, 2.4), (-2.3, 2.3), 2.4
_FREE_X, _FREE_Y = (-1.45, 1.15), (-1.35, 1.35)  # where things are put, so where furniture stands
_PIECES = ("table", "low table", "sideboard", "shelf", "desk", "bench")
_SEATS = ("sofa", "chair", "plant")


@dataclass(frozen=True, slots=True)
class _Piece:
    """A piece of furniture: centre, turn about z in quarters, half extent along x and y."""

    kind: str
    centre_xy: Points
    quarters: int
    half_xy: Points

    def overlaps(self, other: _Piece, gap: float) -> bool:
        """Whether two pieces are nearer than ``gap`` metres."""
        apart = np.abs(self.centre_xy - other.centre_xy) - self.half_xy - other.half_xy
        return bool(apart.max() < gap)


def home_model(seed: int) -> mujoco.MjSpec:
    """The empty room of a seed; every geom is in the visual group and nothing has contacts."""
    rng = np.random.default_rng([seed, 21])
    spec = mujoco.MjSpec()
    builder = _Builder(spec, rng)
    builder.shell()
    for piece in _arrange(rng):
        builder.furniture(piece)
    for _ in range(int(rng.integers(5, 10))):
        builder.wall_picture()
    _light(spec, rng)
    return spec


def _arrange(rng: np.random.Generator) -> list[_Piece]:
    """Five or six surfaces and two or three seats, as far as they find room without touching."""
    wanted = [*rng.choice(_PIECES, int(rng.integers(5, 7))), *rng.choice(_SEATS, 3)]
    placed: list[_Piece] = []
    for kind in map(str, wanted):
        for _ in range(200):
            piece = _random_piece(kind, rng)
            if not any(piece.overlaps(other, 0.22) for other in placed):
                placed.append(piece)
                break
    if len(placed) < 3:
        raise TourError("no room for three pieces of furniture; choose another seed")
    return placed


def _random_piece(kind: str, rng: np.random.Generator) -> _Piece:
    low, high = _SIZES[kind]
    half = rng.uniform(low, high) / 2
    quarters = int(rng.integers(4))
    if quarters % 2:
        half = half[::-1]
    low_xy, high_xy = np.stack([_FREE_X, _FREE_Y], axis=1)
    x, y = rng.uniform(low_xy + half, high_xy - half)
    return _Piece(kind, np.array([x, y]), quarters, half)


_TONES: dict[str, tuple[labels.Rgb, ...]] = {
    "wood": ((150, 108, 70), (112, 74, 46), (188, 150, 108), (84, 58, 42), (206, 184, 152)),
    "cloth": ((120, 124, 132), (74, 84, 104), (148, 134, 116), (104, 64, 62), (86, 100, 82)),
    "paint": ((222, 220, 212), (70, 74, 80), (160, 170, 176), (196, 182, 160)),
    "tiles": ((206, 202, 194), (168, 160, 150), (122, 126, 130)),
}
"""Usual colours of surfaces in homes."""


def surface_texture(rng: np.random.Generator, kinds: Sequence[str], size: int) -> Pixels:
    """A square picture of wood, cloth, paint or tiles, or of anything."""
    kind = str(rng.choice(kinds))
    if kind == "any":
        return procedural_texture(rng, size)
    tones = _TONES[kind]
    tone = np.array(tones[int(rng.integers(len(tones)))], np.float32) + rng.normal(0, 8, 3)
    strength, aspect = {"wood": (60, 8), "cloth": (26, 1), "paint": (8, 1), "tiles": (22, 1)}[kind]
    pixels = tone + strength * (grain(rng, size, aspect)[..., None] - 0.5)
    if kind == "cloth":
        pixels += rng.normal(0, 7, (size, size, 1))
    if kind in ("wood", "tiles"):
        period = int(rng.integers(36, 90))
        row = np.arange(size) // period
        shade = rng.normal(0, 9, (size // period + 1, size // period + 1))
        columns = row if kind == "tiles" else np.zeros_like(row)
        pixels += shade[row[:, None], columns[None]][..., None]
        joint = np.arange(size) % period < 2
        cut = joint[:, None] | (joint[None] & (kind == "tiles"))
        pixels = np.where(cut[..., None], pixels - 38, pixels)
    return np.clip(pixels, 0, 255).astype(np.uint8)


_SIZES = {
    "table": ((0.7, 0.6), (1.1, 0.8)),
    "low table": ((0.7, 0.45), (1.0, 0.6)),
    "sideboard": ((0.8, 0.35), (1.2, 0.45)),
    "shelf": ((0.7, 0.28), (1.0, 0.34)),
    "desk": ((0.9, 0.5), (1.2, 0.65)),
    "bench": ((0.8, 0.3), (1.1, 0.4)),
    "sofa": ((1.1, 0.65), (1.4, 0.75)),
    "chair": ((0.42, 0.42), (0.48, 0.48)),
    "plant": ((0.3, 0.3), (0.4, 0.4)),
}
"""Smallest and largest length and depth, metres."""


class _Builder:
    """Adds boxes with surfaces of their own to a room."""

    def __init__(self, spec: mujoco.MjSpec, rng: np.random.Generator) -> None:
        self._spec = spec
        self._rng = rng
        self._count = 0

    def shell(self) -> None:
        """Floor, rug and four walls."""
        (x0, x1), (y0, y1) = WALL_X, WALL_Y
        middle, half = ((x0 + x1) / 2, (y0 + y1) / 2), ((x1 - x0) / 2, (y1 - y0) / 2)
        floor = self._surface(surface_texture(self._rng, ("wood", "tiles", "cloth"), 512), repeat=3)
        self._box((*middle, -0.05), (*half, 0.05), floor)
        rug = self._surface(surface_texture(self._rng, ("cloth", "any"), 256))
        self._box((*self._rng.uniform(-0.5, 0.5, 2), 0.004), (0.8, 0.55, 0.004), rug)
        wall = self._surface(_pale(procedural_texture(self._rng, 256)))
        self._box((*middle, WALL_HEIGHT + 0.02), (*half, 0.02), wall)
        for x in WALL_X:
            self._box((x, middle[1], WALL_HEIGHT / 2), (0.02, half[1], WALL_HEIGHT / 2), wall)
        for y in WALL_Y:
            self._box((middle[0], y, WALL_HEIGHT / 2), (half[0], 0.02, WALL_HEIGHT / 2), wall)

    def furniture(self, piece: _Piece) -> None:
        """One piece, as boxes in its own frame: x along its length, y to its front."""
        kinds = ("cloth",) if piece.kind in _SEATS else ("wood", "wood", "paint", "any")
        surface = self._surface(surface_texture(self._rng, kinds, 256))
        long, deep = piece.half_xy if piece.quarters % 2 == 0 else piece.half_xy[::-1]
        for centre, half in self._boxes_of(piece.kind, float(long), float(deep)):
            turn = piece.quarters * np.pi / 2
            cos, sin = round(np.cos(turn)), round(np.sin(turn))
            x, y = cos * centre[0] - sin * centre[1], sin * centre[0] + cos * centre[1]
            size = half if piece.quarters % 2 == 0 else (half[1], half[0], half[2])
            at = (piece.centre_xy[0] + x, piece.centre_xy[1] + y, centre[2])
            self._box(at, size, surface)
        if piece.kind == "plant":
            self._leaves(piece)

    def _boxes_of(self, kind: str, a: float, b: float) -> list[tuple[Sequence[float], ...]]:
        """Centres and half sizes of the boxes of a piece with half length a and half depth b."""
        rng = self._rng
        if kind in ("table", "desk", "low table", "bench"):
            low, high = {"low table": (0.36, 0.46), "bench": (0.4, 0.5)}.get(kind, (0.68, 0.78))
            top = rng.uniform(low, high)
            legs = [
                ((u * (a - 0.03), v * (b - 0.03), top / 2 - 0.02), (0.022, 0.022, top / 2 - 0.02))
                for u in (-1, 1)
                for v in (-1, 1)
            ]
            return [((0, 0, top - 0.02), (a, b, 0.02)), *legs]
        if kind == "sideboard":
            top = rng.uniform(0.6, 0.85)
            return [((0, 0, top / 2), (a, b, top / 2))]
        if kind == "shelf":
            boards = [0.3, 0.62, 0.94]
            sides = [((u * a, 0, 0.55), (0.015, b, 0.55)) for u in (-1, 1)]
            planks = [((0, 0, z), (a, b, 0.012)) for z in boards]
            return [*sides, *planks, ((0, b, 0.55), (a, 0.01, 0.55))]
        if kind == "sofa":
            seat = rng.uniform(0.38, 0.45)
            arms = [((u * (a - 0.07), 0, 0.29), (0.07, b, 0.29)) for u in (-1, 1)]
            back = ((0, b - 0.08, 0.4), (a, 0.08, 0.4))
            return [((0, 0, seat / 2), (a, b, seat / 2)), back, *arms]
        if kind == "chair":
            return [
                ((0, 0, 0.44), (a, b, 0.02)),
                ((0, b - 0.02, 0.68), (a, 0.015, 0.24)),
                ((0, 0, 0.21), (0.04, 0.04, 0.21)),
            ]
        return [((0, 0, 0.15), (a, b, 0.15))]  # the pot of a plant

    def _leaves(self, piece: _Piece) -> None:
        green = self._surface(labels.plain((58, 112, 52)))
        for _ in range(14):
            way = self._rng.normal(size=2) * 0.1
            at = (*(piece.centre_xy + way), self._rng.uniform(0.4, 1.0))
            self._spec.worldbody.add_geom(
                type=mujoco.mjtGeom.mjGEOM_ELLIPSOID,
                pos=at,
                size=(0.09, 0.035, 0.015),
                quat=self._rng.normal(size=4),
                material=green,
                group=VISUAL_GROUP,
                contype=0,
                conaffinity=0,
            )

    def wall_picture(self) -> None:
        """A picture or a window on a wall."""
        rng = self._rng
        pattern = str(rng.choice(labels.PATTERNS))
        label = labels.Label(
            colours=labels.random_colours(rng),
            pattern=pattern,
            word="",
            seed=int(rng.integers(1 << 30)),
        )
        surface = self._surface(labels.print_cloth(label, (256, 192)))
        half, height = rng.uniform(0.18, 0.4), rng.uniform(1.2, 1.7)
        if rng.random() < 0.5:
            at = (rng.choice(WALL_X), rng.uniform(-1.6, 1.6), height)
            self._box(at, (0.035, half, 0.75 * half), surface)
        else:
            at = (rng.uniform(-1.5, 1.8), rng.choice(WALL_Y), height)
            self._box(at, (half, 0.035, 0.75 * half), surface)

    def _surface(self, pixels: Pixels, repeat: int = 1) -> str:
        """Name of a new material that shows a picture."""
        self._count += 1
        name = f"home{self._count}"
        texture = self._spec.add_texture(name=name, type=mujoco.mjtTexture.mjTEXTURE_CUBE)
        set_pixels(texture, np.tile(pixels, (repeat, repeat, 1)))
        material = self._spec.add_material(name=name)
        material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = name
        material.specular, material.shininess = 0.1, 0.2
        return name

    def _box(self, at: Sequence[float], half: Sequence[float], material: str) -> None:
        self._spec.worldbody.add_geom(
            type=mujoco.mjtGeom.mjGEOM_BOX,
            pos=at,
            size=half,
            material=material,
            group=VISUAL_GROUP,
            contype=0,
            conaffinity=0,
        )


def _pale(pixels: Pixels) -> Pixels:
    """The picture with weak contrast on a light ground, as walls are."""
    return (205 + 0.18 * (pixels.astype(np.float32) - 60)).clip(0, 255).astype(np.uint8)


def _light(spec: mujoco.MjSpec, rng: np.random.Generator) -> None:
    warmth = rng.uniform(-0.1, 0.1)
    white = np.array([1 + warmth, 1.0, 1 - warmth])
    spec.visual.headlight.ambient = rng.uniform(0.3, 0.42) * white
    spec.visual.headlight.diffuse = rng.uniform(0.12, 0.24) * white
    spec.visual.map.znear = 0.005
    spec.visual.quality.shadowsize = 1024
    for index in range(2):
        spec.worldbody.add_light(
            pos=[*rng.uniform(-1.8, 1.8, 2), 2.3],
            dir=[*rng.uniform(-0.3, 0.3, 2), -1],
            type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL,
            diffuse=rng.uniform(0.16, 0.3) * white,
            specular=[0.1] * 3,
            castshadow=index == 0,
        )
