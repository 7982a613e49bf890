"""What every clip of a set shows, so that queries can be asked where their thing is absent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tools.absent_lists import Room, WheelObject, absent_list
from tools.tours.objects import ObjectSpec
from tools.tours.things import Thing
from tools.tours.tour import Tour


def what_is_shown(tours: Sequence[Tour], annotations: dict[str, Any]) -> dict[str, Any]:
    """The content of ``absent.json``: identities by clip and by query, and the pairs of twins.

    Args:
        tours: All clips of the set.
        annotations: The file with answers.
    """
    rooms = [
        Room(
            tour.facts.uid("clip"),
            {item.title: shown(item) for item in tour.spec.objects if item.title in tour.titles},
        )
        for tour in tours
    ]
    return absent_list(rooms, annotations, "the specification of the rooms")


def shown(item: ObjectSpec) -> Thing | WheelObject:
    """An object as it is told from others."""
    if isinstance(item.asset, Thing):
        return item.asset
    return WheelObject(item.asset, item.paint.hue_shift)
