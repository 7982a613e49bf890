"""Prompts made of the truth: exact and loose boxes, deep and shallow points."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable

import numpy as np

from eval.masks.protocol import BoxPrompt, Point, PointPrompt, Prompt, PromptKind, Thing
from ren_core.geometry import Boxes, clip_boxes, depth_inside

LOOSENESS = 0.2  # of the box's side: how far a side of a loose box moves outwards at most
SHALLOW = 0.4  # share of a thing's pixels, the least deep ones, that edge points are drawn from
MIN_DEPTH = 2.0  # px


def make_prompts(kind: PromptKind, things: Iterable[Thing], seed: int) -> list[Prompt]:
    """A prompt for each thing that such a prompt can be made of.

    Args:
        kind: Any but ``"found"``, which no truth tells.
        things: What is pointed at.
        seed: Of the random kinds; what is drawn for a thing depends on its name and no other thing.
    """
    made = (MAKERS[kind](thing, seed) for thing in things)
    return [prompt for prompt in made if prompt is not None]


def loose_box(box_xyxy: Boxes, size_hw: tuple[int, int], rng: np.random.Generator) -> Boxes:
    """The box (4,) with each side moved outwards by 0 to 20 % of its length, inside the picture."""
    width, height = box_xyxy[2:] - box_xyxy[:2]
    moves = rng.uniform(0, LOOSENESS, 4) * [-width, -height, width, height]
    return clip_boxes(box_xyxy + moves.astype(np.float32), size_hw)


def deepest_point(thing: Thing) -> Point:
    """The point deepest inside the mask; the centre of the box where there is no mask."""
    if thing.mask is None:
        x, y = (thing.box_xyxy[:2] + thing.box_xyxy[2:]) / 2
        return float(x), float(y)
    depth = depth_inside(thing.mask)
    return _centre_of_pixel(int(depth.argmax()), depth.shape[1])


def edge_point(thing: Thing, rng: np.random.Generator) -> Point | None:
    """A point of the mask near its border; None if there is no mask or it is too thin for one."""
    if thing.mask is None:
        return None
    depth = depth_inside(thing.mask)
    inside = depth[depth >= MIN_DEPTH]
    if inside.size == 0:
        return None
    shallow = (depth >= MIN_DEPTH) & (depth <= np.quantile(inside, SHALLOW, method="lower"))
    return _centre_of_pixel(int(rng.choice(np.flatnonzero(shallow))), depth.shape[1])


def _centre_of_pixel(index: int, width: int) -> Point:
    return index % width + 0.5, index // width + 0.5


def _rng(thing: Thing, seed: int) -> np.random.Generator:
    return np.random.default_rng([seed, zlib.crc32(thing.name.encode())])


def _box(thing: Thing, seed: int) -> Prompt:
    return BoxPrompt("box", thing, thing.box_xyxy)


def _loose(thing: Thing, seed: int) -> Prompt:
    return BoxPrompt("loose", thing, loose_box(thing.box_xyxy, thing.size_hw, _rng(thing, seed)))


def _point(thing: Thing, seed: int) -> Prompt:
    return PointPrompt("point", thing, deepest_point(thing))


def _edge(thing: Thing, seed: int) -> Prompt | None:
    point = edge_point(thing, _rng(thing, seed))
    return None if point is None else PointPrompt("edge", thing, point)


MAKERS: dict[PromptKind, Callable[[Thing, int], Prompt | None]] = {
    "box": _box,
    "loose": _loose,
    "point": _point,
    "edge": _edge,
}
