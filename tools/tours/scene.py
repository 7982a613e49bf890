"""Rooms with objects on their surfaces: choose free, flat places and build the MuJoCo model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import mujoco
import numpy as np
from numpy.typing import NDArray

from tools.tours.errors import TourError
from tools.tours.hand import HAND, add_hand
from tools.tours.home import HOME, home_model
from tools.tours.looks import VISUAL_GROUP, randomise_room
from tools.tours.objects import (
    ObjectSpec,
    asset_root,
    compile_model,
    load_object,
    outline,
    random_turn,
)
from tools.tours.shapes import Points

LIBERO_ROOMS: Mapping[str, str] = {
    "living": "libero_living_room_tabletop_base_style.xml",
    "kitchen": "libero_kitchen_tabletop_base_style.xml",
    "study": "libero_study_base_style.xml",
    "coffee": "libero_coffee_table_base_style.xml",
}
ROOMS = (*LIBERO_ROOMS, HOME)
FLOOR_SHARE = 0.03
"""How often a place on the floor is taken; furniture is always welcome."""
HOME_FLOOR_SHARE = 0.004
"""The same in the rooms made here, which have more free floor."""
MAX_OBJECTS = 127
_GROUPS = np.array([0, 1, 0, 0, 0, 0], np.uint8)


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """What goes on while the camera tours a room.

    Attributes:
        moves: So often, at most, a thing changes place while it is out of sight.
        hands: Now and then a hand reaches for what is looked at.
        shake: Factor of the usual sway of the camera.
        exposure: How far brightness drifts, in stops.
    """

    moves: int = 0
    hands: bool = False
    shake: float = 1.0
    exposure: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RoomSpec:
    """A room to be built; the same spec always gives the same room.

    Attributes:
        room: One of ``ROOMS``.
        seed: Decides places and, if asked for, the look.
        objects: What stands in it.
        random_look: Draw new textures, colours and light.
        life: What goes on in it.
    """

    room: str
    seed: int
    objects: tuple[ObjectSpec, ...]
    random_look: bool = False
    life: Life = field(default_factory=Life)

    def __post_init__(self) -> None:
        if self.room not in ROOMS:
            raise TourError(f"room must be one of {', '.join(ROOMS)}, got {self.room!r}")
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
        id_of_geom: (G,) uint8: 1..127 objects, 128..255 furniture, walls and a hand.
        body_of: Body of each object in the model.
        home_xyz: (N, 3) where those bodies stand at first.
        hand: Number of the movable body of a hand; None: there is none.
        empty: Model and state of the room without objects.
        life: What goes on in it.
    """

    model: mujoco.MjModel
    data: mujoco.MjData
    placed: tuple[Placed, ...]
    id_of_geom: NDArray[np.uint8]
    body_of: tuple[int, ...]
    home_xyz: Points
    hand: int | None
    empty: tuple[mujoco.MjModel, mujoco.MjData]
    life: Life


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
    empty = compile_model(_empty_room(spec))
    room = _empty_room(spec)
    if spec.life.hands:
        add_hand(room, np.random.default_rng([spec.seed, 6]))

    floor_share = HOME_FLOOR_SHARE if spec.room == HOME else FLOOR_SHARE
    placed: list[Placed] = []
    bodies: list[str] = []
    for index, item in enumerate(spec.objects):
        child = load_object(item, rng)
        quat = random_turn(child, rng)
        points = outline(child, quat)
        at = find_place(points, empty, placed, rng, floor_share)
        body = child.worldbody.first_body()
        frame = room.worldbody.add_frame(pos=at, quat=quat)
        body.name = body.name or "outer"  # what stands around the parts may have no name
        bodies.append(f"object{index}/{body.name}")
        frame.attach_body(body, f"object{index}/", "")
        moved = points + at
        placed.append(Placed(item.title, (moved.min(0) + moved.max(0)) / 2, moved))
    model, data = compile_model(room)
    body_of = tuple(model.body(name).id for name in bodies)
    return Room(
        model,
        data,
        tuple(placed),
        _instance_ids(model),
        body_of,
        model.body_pos[list(body_of)].copy(),
        int(model.body(HAND).mocapid[0]) if spec.life.hands else None,
        empty,
        spec.life,
    )


def _empty_room(spec: RoomSpec) -> mujoco.MjSpec:
    """The room without its objects."""
    if spec.room == HOME:
        return home_model(spec.seed)
    folder = asset_root() / "scenes"
    room = mujoco.MjSpec.from_file(str(folder / LIBERO_ROOMS[spec.room]))
    _usual_light(room)
    if spec.random_look:
        randomise_room(room, folder, np.random.default_rng([spec.seed, 2]))
    return room


def _usual_light(spec: mujoco.MjSpec) -> None:
    spec.visual.headlight.ambient = [0.42] * 3
    spec.visual.headlight.diffuse = [0.42] * 3
    spec.visual.map.znear = 0.005


def find_place(
    points: Points,
    empty: tuple[mujoco.MjModel, mujoco.MjData],
    placed: Sequence[Placed],
    rng: np.random.Generator,
    floor_share: float = FLOOR_SHARE,
) -> Points:
    """Where the origin of an object must be so that it stands on a flat, free place."""
    low, high = points.min(0), points.max(0)
    middle, half = (low + high) / 2, (high - low) / 2
    radius = float(np.hypot(half[0], half[1]))
    corners = np.array([(u, v) for u in (-1, 0, 1) for v in (-1, 0, 1)]) * half[:2]
    for _ in range(6000):
        xy = rng.uniform([-1.5, -1.4], [1.2, 1.4])
        heights = [surface_height(*empty, xy + corner) for corner in corners]
        top = max(heights)
        if top - min(heights) > 0.012 or top > 1.15:
            continue
        if top < 0.2 and rng.random() > floor_share:
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
