"""Write ``absent.json`` (see ``vq2d/job/absence.py``) of a set of rendered tours.

    python -m tools.absent_lists --tours tools/tours/sets/holdout.json --data runs/sets/holdout

The specification says what stands in each room. A thing is known by its asset and the turn of its
hues. Things of one shape and clearly another colour are twins; of colours that differ less, each
may be taken for the other, so that a room with one counts as showing both.

Lists of other sets are in ``tools/absent``; ``tools/davis_set.py`` writes its own.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, Protocol

from ren_core.errors import DataError
from tools.tours.ego4d_json import FRAMES_PER_STEP, ClipFacts

ALIKE_HUES = 0.125
"""Hues (of a circle of length 1) less far apart than this may be taken for each other."""

SHAPES: Mapping[str, tuple[str, float | None]] = {
    "red_alphabet_soup": ("alphabet_soup", None),
    "green_butter": ("butter", 0.31),
    "yellow_cookies": ("cookies", None),
    "green_ketchup": ("ketchup", 0.31),
    "blue_ketchup": ("ketchup", None),
    "red_orange_juice": ("orange_juice", None),
    "red_akita_black_bowl": ("akita_black_bowl", None),
    "red_ramekin": ("glazed_rim_porcelain_ramekin", None),
}
"""Recoloured assets: the asset of the same shape, and the turn of its hues that looks the same.

The turns are those between the commonest hues of the two textures; None: no turn looks the same.
"""

EXAMPLE_TITLES = {
    "glazed_rim_porcelain_ramekin": "white ramekin",
    "akita_black_bowl": "black bowl",
    "red_akita_black_bowl": "red bowl",
}
"""Titles of synvq_dev that are not the asset's name."""


class Shown(Protocol):
    """A thing that can be told from others."""

    @property
    def identity(self) -> str:
        """Its name in the list."""
        ...

    def is_alike(self, other: Shown) -> bool:
        """Whether one may be taken for the other."""
        ...

    def is_twin(self, other: Shown) -> bool:
        """Whether they differ in one respect only, and clearly."""
        ...


@dataclass(frozen=True, slots=True)
class WheelObject:
    """An object of the wheels: its asset, and the turn of its hues (0..1)."""

    asset: str
    hue: float = 0.0

    @property
    def identity(self) -> str:
        """Its name in the list.

        >>> WheelObject("cookies", 0.58).identity
        'cookies@0.58'
        """
        return f"{self.asset}@{self.hue:g}" if self.hue else self.asset

    @property
    def shape(self) -> str:
        """The asset that has its shape in the usual colours."""
        return SHAPES.get(self.asset, (self.asset, 0.0))[0]

    @property
    def turn(self) -> float | None:
        """How far its hues are turned from the usual ones; None where they are no turn of them."""
        own = SHAPES.get(self.asset, (self.asset, 0.0))[1]
        return None if own is None else (own + self.hue) % 1

    def is_alike(self, other: Shown) -> bool:
        """Whether one may be taken for the other.

        >>> WheelObject("ketchup", 0.41).is_alike(WheelObject("green_ketchup"))
        True
        """
        if self == other:
            return True
        if not isinstance(other, WheelObject) or self.shape != other.shape:
            return False
        if self.turn is None or other.turn is None:
            return False
        apart = abs(self.turn - other.turn)
        return min(apart, 1 - apart) < ALIKE_HUES

    def is_twin(self, other: Shown) -> bool:
        """Whether they differ in colour only, and clearly.

        >>> WheelObject("red_ramekin").is_twin(WheelObject("glazed_rim_porcelain_ramekin"))
        True
        """
        same_shape = isinstance(other, WheelObject) and self.shape == other.shape
        return same_shape and not self.is_alike(other)


@dataclass(frozen=True, slots=True)
class Room:
    """The things of a clip, by title."""

    clip_uid: str
    things: Mapping[str, Shown]


def read_rooms(spec: Path, annotations: Mapping[str, Any]) -> list[Room]:
    """The rooms of a specification in the form of this project or of ``example_tours.json``.

    Raises:
        DataError: If an example's clip cannot be told by its length, or a room has things that
            are no assets.
    """
    rows = json.loads(spec.read_text())
    return [_example_room(row, annotations) if "scene" in row else _tour_room(row) for row in rows]


def _tour_room(row: Mapping[str, Any]) -> Room:
    if "objects" not in row:
        raise DataError(
            "the specification has things that are made here, not objects of the wheels; "
            "tools.tours.make_set writes the absent.json of such a set"
        )
    name = f"{row['room']}-{row['seed']}"
    facts = ClipFacts(name, row["first_source_frame"], row["frames"], (480, 640))
    things = {
        item["title"]: WheelObject(item["asset"], item.get("hue_shift", 0.0))
        for item in row["objects"]
    }
    return Room(facts.uid("clip"), things)


def _example_room(row: Mapping[str, Any], annotations: Mapping[str, Any]) -> Room:
    """A room of the example, whose clip is the one of its length."""
    found = [
        clip["clip_uid"]
        for video in annotations["videos"]
        for clip in video["clips"]
        if clip["clip_end_frame"] + 1 == FRAMES_PER_STEP * row["frames"]
    ]
    if len(found) != 1:
        raise DataError(
            f"{len(found)} clips have the {row['frames']} frames of {row['scene']}, expected one; "
            "give the annotations that belong to the specification"
        )
    things = {
        EXAMPLE_TITLES.get(asset, asset.replace("_", " ")): WheelObject(asset)
        for asset in row["objects"]
    }
    return Room(found[0], things)


def absent_list(rooms: Sequence[Room], annotations: Mapping[str, Any], how: str) -> dict[str, Any]:
    """What ``absent.json`` holds.

    Args:
        rooms: All clips of the set.
        annotations: Its annotation file.
        how: One sentence on where this is known from.

    Raises:
        DataError: If a query is about nothing that its room has, or its clip has no room.
    """
    known = {thing.identity: thing for room in rooms for thing in room.things.values()}
    things = [known[identity] for identity in sorted(known)]
    by_uid = {room.clip_uid: room for room in rooms}
    queries = {}
    for key, clip_uid, title in asked_titles(annotations):
        room = by_uid.get(clip_uid)
        if room is None or title not in room.things:
            raise DataError(
                f"query {key} asks for {title!r}, which the specification does not have in clip "
                f"{clip_uid}; give the one that the set was rendered from"
            )
        queries[key] = room.things[title].identity
    return {
        "how": how,
        "clips": {
            room.clip_uid: [
                thing.identity
                for thing in things
                if any(thing.is_alike(own) for own in room.things.values())
            ]
            for room in rooms
        },
        "queries": queries,
        "twins": [[a.identity, b.identity] for a, b in combinations(things, 2) if a.is_twin(b)],
    }


def asked_titles(annotations: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Key, clip uid and object title of every valid query."""
    for v, video in enumerate(annotations["videos"]):
        for c, clip in enumerate(video["clips"]):
            for a, annotation in enumerate(clip["annotations"]):
                for name, query in annotation["query_sets"].items():
                    if query["is_valid"]:
                        yield f"v{v}-c{c}-a{a}-q{name}", clip["clip_uid"], query["object_title"]


def write_list(path: Path, found: Mapping[str, Any]) -> None:
    """Write an ``absent.json``."""
    path.write_text(json.dumps(found, indent=1) + "\n")


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description="List what the clips of rendered tours show.")
    parser.add_argument("--tours", type=Path, required=True, help="specification of the rooms")
    parser.add_argument("--data", type=Path, required=True, help="folder of the rendered set")
    parser.add_argument("--out", type=Path, help="file to write (absent.json in that folder)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Write the list; 0 done, 1 failed."""
    args = build_parser().parse_args(argv)
    annotations = json.loads((args.data / "v2" / "annotations" / "vq_val.json").read_text())
    how = f"the specification of the rooms, {args.tours.name}"
    try:
        found = absent_list(read_rooms(args.tours, annotations), annotations, how)
    except DataError as err:
        sys.stderr.write(f"{err}\n")
        return 1
    write_list(args.out or args.data / "absent.json", found)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
