"""What goes on in a room while the camera tours it: things change place, a hand reaches in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import mujoco
import numpy as np

from tools.tours.hand import AWAY
from tools.tours.scene import Placed, Room
from tools.tours.shapes import Points

_REST = np.array([0.22, -0.34, 0.1])  # right, up, ahead of the eye: where the arm comes from
_EASE_S = 0.45


@dataclass(frozen=True, slots=True)
class Move:
    """From ``time_s`` on, object ``index`` stands ``by_xyz`` (3,) metres from where it stood."""

    time_s: float
    index: int
    by_xyz: Points


@dataclass(frozen=True, slots=True)
class Reach:
    """A hand comes in at ``start_s`` and is gone at ``end_s``; its palm nears ``palm_xyz`` (3,)."""

    start_s: float
    end_s: float
    palm_xyz: Points

    def share(self, time_s: float) -> float:
        """How far in the hand is, 0..1."""
        way = min(time_s - self.start_s, self.end_s - time_s) / _EASE_S
        part = float(np.clip(way, 0, 1))
        return part * part * (3 - 2 * part)


@dataclass(frozen=True, slots=True)
class Events:
    """All that happens, in order of time."""

    moves: tuple[Move, ...] = ()
    reaches: tuple[Reach, ...] = ()

    def placed_at(self, room: Room, time_s: float) -> tuple[Placed, ...]:
        """The objects of a room where they stand at a time."""
        placed = list(room.placed)
        for move in self.moves:
            if move.time_s <= time_s:
                placed[move.index] = shifted(placed[move.index], move.by_xyz)
        return tuple(placed)

    def apply(self, room: Room, time_s: float, eye_xyz: Points, axes: Points) -> None:
        """Bring the room's model to a time.

        Args:
            room: To be changed.
            time_s: Seconds since the start.
            eye_xyz: (3,) camera.
            axes: (3, 3) its right, up and forward directions, as rows.
        """
        if not self.moves and not self.reaches:
            return
        set_places(room, self.placed_at(room, time_s))
        active = [r for r in self.reaches if r.start_s < time_s < r.end_s]
        if room.hand is not None:
            if active:
                _pose_hand(room, active[0], time_s, eye_xyz, axes)
            else:
                room.data.mocap_pos[room.hand] = AWAY
        mujoco.mj_forward(room.model, room.data)


def shifted(placed: Placed, by_xyz: Points) -> Placed:
    """An object ``by_xyz`` (3,) metres from where it was."""
    return replace(
        placed,
        centre_xyz=placed.centre_xyz + by_xyz,
        outline_xyz=placed.outline_xyz + by_xyz,
    )


def set_places(room: Room, placed: Sequence[Placed]) -> None:
    """Put every object of a room where ``placed`` says; its turn stays."""
    for body, home, first, now in zip(
        room.body_of, room.home_xyz, room.placed, placed, strict=True
    ):
        room.model.body_pos[body] = home + (now.centre_xyz - first.centre_xyz)


def _pose_hand(room: Room, reach: Reach, time_s: float, eye_xyz: Points, axes: Points) -> None:
    shoulder = eye_xyz + _REST @ axes
    palm = shoulder + reach.share(time_s) * (reach.palm_xyz - shoulder)
    along = reach.palm_xyz - shoulder
    along /= np.linalg.norm(along)
    side = np.cross(axes[1], along)
    side /= np.linalg.norm(side)
    turn = np.stack([along, side, np.cross(along, side)], axis=1)
    quat = np.zeros(4)
    mujoco.mju_mat2Quat(quat, turn.ravel())
    room.data.mocap_pos[room.hand] = palm
    room.data.mocap_quat[room.hand] = quat
