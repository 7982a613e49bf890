"""Render rooms with random objects, colours, textures, light and views, for training.

    MUJOCO_GL=osmesa python -m tools.tours.make_training_scenes --out DIR --scenes 60 --frames 24

Each scene folder gets ``00000.jpg`` and on, ``00000.png`` with the instance ids of the same frame
(0 nothing, 1..127 objects, 128..255 furniture, floor and walls), and ``truth.json``. With
``--made`` rooms and things are those made here, of which nothing is anybody else's; they are other
things than those of the sets.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from ren_core.command import exit_code
from ren_core.errors import ConfigError
from tools.tours.camera import Plan, plan_tour
from tools.tours.home import HOME
from tools.tours.looks import random_paint
from tools.tours.objects import PRIMITIVES, ObjectSpec, made_objects
from tools.tours.render import Frame, render_tour, sights
from tools.tours.scene import LIBERO_ROOMS, Life, Room, RoomSpec, build_room
from tools.tours.things import random_thing, random_twin

logger = logging.getLogger(__name__)

OBJECT_LIST = Path(__file__).with_name("objects.json")
FIRST_THING, MOST_THINGS = 1_000_000, 10
"""Seed of the first thing made for training, beyond those of all sets, and how many a room has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneConfig:
    """What decides a training scene.

    Attributes:
        frames: Number of pictures.
        size: Side of the square pictures, in pixels.
        step_s: Seconds of head motion between two pictures.
        made: Rooms and things made here, not those of the wheels.
    """

    frames: int = 24
    size: int = 448
    step_s: float = 1.2
    made: bool = False


def random_objects(rng: np.random.Generator) -> tuple[ObjectSpec, ...]:
    """Six to eleven known objects, about half of them recoloured, and two to six primitives."""
    assets = json.loads(OBJECT_LIST.read_text())
    chosen = rng.choice(sorted(assets), rng.integers(6, 12), replace=True)
    items: list[ObjectSpec] = []
    for index, asset in enumerate([*chosen, *rng.choice(PRIMITIVES, rng.integers(2, 7))]):
        title = f"{index + 1} {assets.get(str(asset), asset)}"
        scale = float(rng.uniform(0.75, 1.25))
        if rng.random() < 0.5:
            items.append(
                ObjectSpec(asset=str(asset), title=title, paint=random_paint(rng), scale=scale)
            )
        else:
            items.append(ObjectSpec(asset=str(asset), title=title, scale=scale))
    return tuple(items)


def room_of_wheels(seed: int, rng: np.random.Generator) -> RoomSpec:
    """A room of the wheels with known objects, in colours and textures of its own."""
    name = str(rng.choice(sorted(LIBERO_ROOMS)))
    return RoomSpec(room=name, seed=seed, objects=random_objects(rng), random_look=True)


def room_made_here(seed: int, rng: np.random.Generator) -> RoomSpec:
    """A room made here: four to seven things, up to four of their twins, and clutter."""
    first = FIRST_THING + MOST_THINGS * seed
    things = [random_thing(first + k, rng) for k in range(int(rng.integers(4, 8)))]
    twins = [random_twin(thing, rng) for thing in things[: int(rng.integers(2, 5))]]
    clutter = rng.choice(PRIMITIVES, rng.integers(2, 7))
    objects = made_objects([*things, *twins], clutter)
    life = Life(hands=True, exposure=float(rng.uniform(0.1, 0.5)))
    return RoomSpec(room=HOME, seed=seed, objects=objects, life=life)


def render_scene(seed: int, out: Path, config: SceneConfig) -> None:
    """Build scene ``seed`` and write its pictures, instance ids and truth to ``out``."""
    rng = np.random.default_rng([seed, 4])
    spec = room_made_here(seed, rng) if config.made else room_of_wheels(seed, rng)
    room = build_room(spec)
    fovy = float(rng.uniform(45, 75))
    times = [k * config.step_s for k in range(config.frames)]
    plan = plan_tour(room, seconds=times[-1], seed=seed)

    out.mkdir(parents=True, exist_ok=True)
    size_hw = (config.size, config.size)
    rows = []
    for index, frame in enumerate(render_tour(room, plan, times, size_hw=size_hw, fovy_deg=fovy)):
        Image.fromarray(frame.rgb).save(out / f"{index:05d}.jpg", quality=93)
        Image.fromarray(frame.instance_ids).save(out / f"{index:05d}.png")
        rows.append(truth_row(frame, room, plan, fovy))
    names = {str(k + 1): placed.title for k, placed in enumerate(room.placed)}
    truth = {
        "settings": asdict(config),
        "room": spec.room,
        "seed": seed,
        "fovy_deg": fovy,
        "objects": names,
        "frames": rows,
    }
    (out / "truth.json").write_text(json.dumps(truth))


def is_rendered(scene: Path, config: SceneConfig) -> bool:
    """Whether a scene is there.

    Raises:
        ConfigError: If it is, and was rendered with other settings.
    """
    file = scene / "truth.json"
    if not file.exists():
        return False
    found, asked = json.loads(file.read_text()).get("settings"), asdict(config)
    if found != asked:
        raise ConfigError(
            f"{scene} was rendered with {found or 'settings that it does not name'}, asked for is "
            f"{asked}: give another --out, or delete it"
        )
    return True


def truth_row(frame: Frame, room: Room, plan: Plan, fovy_deg: float) -> dict[str, object]:
    """Time, blur and the objects in sight: title -> [x1, y1, x2, y2, pixels, visible share]."""
    seen = sights(frame, room, plan, fovy_deg)
    return {
        "time_s": round(frame.time_s, 3),
        "blur_px": round(frame.blur_px, 2),
        "objects": {title: [*s.box_xyxy, s.pixels, s.share] for title, s in seen.items()},
    }


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description="Render random rooms for training.")
    parser.add_argument("--out", type=Path, required=True, help="folder for scene_<seed> folders")
    parser.add_argument("--scenes", type=int, default=60, help="number of scenes")
    parser.add_argument("--first-seed", type=int, default=5000, help="seed of the first scene")
    parser.add_argument("--frames", type=int, default=24, help="pictures per scene")
    parser.add_argument("--size", type=int, default=448, help="side of a picture, in pixels")
    parser.add_argument("--made", action="store_true", help="rooms and things made here only")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Render the scenes that are not there yet; 0 done, 2 usage."""
    args = build_parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    config = SceneConfig(frames=args.frames, size=args.size, made=args.made)
    seeds = range(args.first_seed, args.first_seed + args.scenes)
    scenes = {seed: args.out / f"scene_{seed}" for seed in seeds}
    return exit_code(lambda: render_missing(scenes, config))


def render_missing(scenes: Mapping[int, Path], config: SceneConfig) -> None:
    """Render scenes (folder by seed) that are not there, once all that are there fit."""
    missing = {seed: scene for seed, scene in scenes.items() if not is_rendered(scene, config)}
    for seed, scene in missing.items():
        start = time.perf_counter()
        render_scene(seed, scene, config)
        logger.info("%s: %.1f s", scene.name, time.perf_counter() - start)


if __name__ == "__main__":
    raise SystemExit(main())
