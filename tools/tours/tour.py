"""The tours of a data set, as a specification file lists them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.tours.ego4d_json import ClipFacts
from tools.tours.errors import TourError
from tools.tours.looks import Paint
from tools.tours.objects import PRIMITIVES, ObjectSpec, made_objects
from tools.tours.scene import Life, RoomSpec
from tools.tours.things import Thing

SIZE_HW = (480, 640)
FOVY_DEG = 56.0


@dataclass(frozen=True, slots=True)
class Tour:
    """One clip: a room, its length, the rate of its file, its queries.

    Attributes:
        spec: The room.
        facts: Name, place in its video, length and size of the clip.
        file_fps: Frames per second of the file.
        query_count: Most queries asked of it.
        fovy_deg: Vertical angle of view.
    """

    spec: RoomSpec
    facts: ClipFacts
    file_fps: int
    query_count: int
    fovy_deg: float

    @property
    def titles(self) -> list[str]:
        """Of the things that can be asked for: clutter has no name."""
        return [item.title for item in self.spec.objects if item.asset not in PRIMITIVES]


def read_tours(path: Path) -> list[Tour]:
    """The tours of a specification file, a JSON list of rows."""
    try:
        rows = json.loads(path.read_text())
    except FileNotFoundError as err:
        known = ", ".join(sorted(other.stem for other in path.parent.glob("*.json")))
        raise TourError(f"no set is called {path.stem!r}; there are {known}") from err
    return [_tour(row) for row in rows]


def _tour(row: dict[str, Any]) -> Tour:
    items = [_object(o) for o in row.get("objects", ())]
    things = [Thing(**t) for t in row.get("things", ())]
    items += made_objects(things, row.get("clutter", ()))
    life = Life(**row.get("life", {}))
    spec = RoomSpec(room=row["room"], seed=row["seed"], objects=tuple(items), life=life)
    height, width = row.get("size_hw", SIZE_HW)
    facts = ClipFacts(
        f"{spec.room}-{spec.seed}", row["first_source_frame"], row["frames"], (height, width)
    )
    return Tour(spec, facts, row["file_fps"], row["queries"], row.get("fovy_deg", FOVY_DEG))


def _object(row: dict[str, Any]) -> ObjectSpec:
    """An object out of the wheels."""
    return ObjectSpec(
        asset=row["asset"], title=row["title"], paint=Paint(row.get("hue_shift", 0.0))
    )
