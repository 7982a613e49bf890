"""The path of a head: glances at objects and away from them, joined by smooth, quick turns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import mujoco
import numpy as np

from tools.tours.life import Events, Move, Reach, set_places, shifted
from tools.tours.scene import HOME_FLOOR_SHARE, Placed, Room, find_place, ray_length, surface_height
from tools.tours.shapes import Points

TURN_SPEED = (70.0, 150.0)
"""Degrees per second of the turn between two glances; the peak is 1.9 times as fast."""
WALK_SPEED = 0.9
"""Metres per second at most, on average over a turn."""
# How often a glance goes to one object up close, over several from afar, or away from all.
_KINDS = ("inspect", "survey", "away")
_SHARES = (0.58, 0.17, 0.25)
_REACH_SHARE = 0.3
"""How often a hand reaches for what is looked at up close."""
_UNSEEN_DEG = 60.0
"""A thing this far from the middle of the view is out of sight."""


@dataclass(frozen=True, slots=True)
class Pose:
    """Where the camera is and looks: metres, degrees (yaw counter-clockwise, pitch up)."""

    eye_xyz: Points
    yaw: float
    pitch: float

    @property
    def forward(self) -> Points:
        """Unit vector (3,) of the viewing direction."""
        yaw, pitch = np.radians([self.yaw, self.pitch])
        return np.array([np.cos(pitch) * np.cos(yaw), np.cos(pitch) * np.sin(yaw), np.sin(pitch)])

    @property
    def axes(self) -> Points:
        """(3, 3) unit vectors to the right, upwards and forward, as rows."""
        forward = self.forward
        right = np.cross(forward, [0.0, 0.0, 1.0])
        right /= np.linalg.norm(right)
        return np.stack([right, np.cross(right, forward), forward])


@dataclass(frozen=True, slots=True)
class Glance:
    """A time during which the head nearly rests; state = (x, y, z, yaw, pitch), drifting."""

    start_s: float
    end_s: float
    state: Points
    drift: Points

    def at(self, time_s: float) -> Points:
        """State (5,) at a time inside the glance."""
        part = (time_s - self.start_s) / (self.end_s - self.start_s) - 0.5
        drifted: Points = self.state + part * self.drift
        return drifted


class HeadPath:
    """A continuous path through glances, with the small sway of a living head on top."""

    def __init__(
        self, glances: Sequence[Glance], rng: np.random.Generator, shake: float = 1.0
    ) -> None:
        self._glances = list(glances)
        self._shake = shake
        self._sway_hz = rng.uniform([0.6, 0.6, 1.0, 0.4, 0.5], [0.9, 0.9, 1.4, 0.7, 0.9])
        self._phase = rng.uniform(0, 2 * np.pi, (2, 5))

    def pose(self, time_s: float) -> Pose:
        """Pose at any time from 0 to the end of the last glance."""
        state = self._still(time_s)
        angle = 2 * np.pi * self._sway_hz * time_s
        slow = np.sin(angle + self._phase[0]) * np.array([0.01, 0.01, 0.012, 1.1, 0.9])
        quick = np.sin(3.1 * angle + self._phase[1]) * np.array([0.0, 0.0, 0.002, 0.35, 0.3])
        state = state + self._shake * (slow + quick)
        return Pose(state[:3], float(state[3]), float(state[4]))

    def _still(self, time_s: float) -> Points:
        before = self._glances[0]
        for glance in self._glances:
            if time_s < glance.start_s:
                part = (time_s - before.end_s) / (glance.start_s - before.end_s)
                smooth = part**3 * (10 - 15 * part + 6 * part**2)  # least jerk
                first, last = before.at(before.end_s), glance.at(glance.start_s)
                return first + smooth * (last - first)
            if time_s <= glance.end_s:
                return glance.at(time_s)
            before = glance
        return before.at(before.end_s)


@dataclass(frozen=True, slots=True)
class Plan:
    """A tour of a room: the way of the camera, and what happens meanwhile."""

    path: HeadPath
    events: Events


def plan_tour(room: Room, *, seconds: float, seed: int) -> Plan:
    """Glances over the objects of a room, in shuffled rounds, for at least ``seconds``.

    The room's model is left as it was.
    """
    rng = np.random.default_rng([seed, 3])
    happenings = _Happenings(room, np.random.default_rng([seed, 7]), seconds)
    glances: list[Glance] = []
    round_: list[int] = []
    kind = "away"
    while not glances or glances[-1].end_s < seconds + 1:
        last = glances[-1] if glances else None
        kinds = [k for k in _KINDS if not (k == "away" and kind == "away")]
        weights = np.array([_SHARES[_KINDS.index(k)] for k in kinds])
        kind = str(rng.choice(kinds, p=weights / weights.sum()))
        if kind == "away" and last is not None:
            glance = _append_glance(last, _look_away(last.state, rng), rng)
            happenings.while_away(glance)
        else:
            if not round_:
                round_ = list(rng.permutation(len(room.placed)))
            target = happenings.placed[round_.pop()].centre_xyz
            distance = (0.32, 0.62) if kind == "inspect" else (0.75, 1.25)
            eye = _find_eye(room, target, last, distance=distance, rng=rng)
            if eye is None:
                continue
            glance = _append_glance(last, _look_at(eye, target, rng), rng)
            if kind == "inspect":
                happenings.while_near(glance, target)
        glances.append(glance)
    set_places(room, room.placed)
    mujoco.mj_forward(room.model, room.data)
    return Plan(HeadPath(glances, rng, room.life.shake), happenings.events)


class _Happenings:
    """Draws what happens as the glances are planned, and keeps the room's model up with it."""

    def __init__(self, room: Room, rng: np.random.Generator, seconds: float) -> None:
        self.placed: list[Placed] = list(room.placed)
        self._room = room
        self._rng = rng
        # An away glance comes every ten seconds, and every second one has the thing in view.
        self._chance = 2 * 10.0 * room.life.moves / max(seconds, 1.0)
        self._moves: list[Move] = []
        self._reaches: list[Reach] = []

    @property
    def events(self) -> Events:
        """All that was drawn."""
        return Events(tuple(self._moves), tuple(self._reaches))

    def while_away(self, glance: Glance) -> None:
        """Now and then, a thing that is not in view changes place in the middle of a glance."""
        room, rng = self._room, self._rng
        if len(self._moves) >= room.life.moves or rng.random() > self._chance:
            return
        index = int(rng.integers(len(self.placed)))
        now = self.placed[index]
        others = self.placed[:index] + self.placed[index + 1 :]
        then = shifted(now, find_place(now.outline_xyz, room.empty, others, rng, HOME_FLOOR_SHARE))
        if all(_off_axis_deg(glance, place.centre_xyz) > _UNSEEN_DEG for place in (now, then)):
            middle = (glance.start_s + glance.end_s) / 2
            self._moves.append(Move(middle, index, then.centre_xyz - now.centre_xyz))
            self.placed[index] = then
            set_places(room, self.placed)
            mujoco.mj_forward(room.model, room.data)

    def while_near(self, glance: Glance, target_xyz: Points) -> None:
        """Now and then, a hand reaches for what is looked at."""
        if not self._room.life.hands or self._rng.random() > _REACH_SHARE:
            return
        aside = self._rng.uniform([-0.08, -0.08, -0.02], [0.08, 0.08, 0.05])
        way = target_xyz - glance.state[:3]
        palm = glance.state[:3] + self._rng.uniform(0.75, 0.9) * way + aside
        start = glance.start_s + self._rng.uniform(-0.3, 0.4)
        self._reaches.append(Reach(start, glance.end_s + 0.2, palm))


def _off_axis_deg(glance: Glance, point_xyz: Points) -> float:
    """Degrees between the middle of the view and a point."""
    way = point_xyz - glance.state[:3]
    forward = Pose(glance.state[:3], float(glance.state[3]), float(glance.state[4])).forward
    return float(np.degrees(np.arccos(np.clip(way @ forward / np.linalg.norm(way), -1, 1))))


def _look_away(state: Points, rng: np.random.Generator) -> Points:
    yaw = state[3] + rng.choice([-1, 1]) * rng.uniform(70, 160)
    step = rng.uniform(-0.15, 0.15, 3) * [1, 1, 0.5]
    return np.array([*(state[:3] + step), yaw, rng.uniform(-15, 12)])


def _look_at(eye: Points, target: Points, rng: np.random.Generator) -> Points:
    """A state that shows the target, mostly off the middle of the image."""
    way = target - eye
    yaw = np.degrees(np.arctan2(way[1], way[0])) + rng.uniform(-14, 14)
    pitch = np.degrees(np.arctan2(way[2], np.hypot(way[0], way[1]))) + rng.uniform(-9, 9)
    return np.array([*eye, yaw, pitch])


def _find_eye(
    room: Room,
    target: Points,
    last: Glance | None,
    *,
    distance: tuple[float, float],
    rng: np.random.Generator,
) -> Points | None:
    """A free point from which the target is seen, not far from the last one; None if none."""
    found: list[tuple[float, Points]] = []
    for _ in range(50):
        angle = rng.uniform(0, 2 * np.pi)
        reach = rng.uniform(*distance)
        rise = rng.uniform(0.5, 1.0) * reach
        eye = target + np.array([reach * np.cos(angle), reach * np.sin(angle), rise])
        if not (-1.25 < eye[0] < 2.0 and abs(eye[1]) < 1.9):
            continue
        if surface_height(room.model, room.data, eye[:2]) > eye[2] - 0.2:
            continue
        way = target - eye
        if ray_length(room.model, room.data, eye, way) < np.linalg.norm(way) - 0.13:
            continue
        walk = 0.0 if last is None else float(np.linalg.norm(eye - last.state[:3]))
        found.append((walk + 0.6 * rng.random(), eye))
    return min(found, key=lambda item: item[0])[1] if found else None


def _append_glance(last: Glance | None, state: Points, rng: np.random.Generator) -> Glance:
    """The glance at ``state`` after ``last``, turning the short way round."""
    start = 0.0
    if last is not None:
        turn = (state[3] - last.state[3] + 180) % 360 - 180
        state = np.array([*state[:3], last.state[3] + turn, state[4]])
        walk = np.linalg.norm(state[:3] - last.state[:3])
        start = last.end_s + max(0.4, abs(turn) / rng.uniform(*TURN_SPEED), walk / WALK_SPEED)
    drift = rng.uniform(-1, 1, 5) * [0.1, 0.1, 0.06, 10.0, 6.0]
    return Glance(start, start + rng.uniform(0.8, 2.6), state, drift)
