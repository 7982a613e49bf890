"""The path of a head: glances at objects and away from them, joined by smooth, quick turns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tools.tours.objects import Points
from tools.tours.scene import Room, ray_length, surface_height

TURN_SPEED = (70.0, 150.0)
"""Degrees per second of the turn between two glances; the peak is 1.9 times as fast."""
WALK_SPEED = 0.9
"""Metres per second at most, on average over a turn."""
# How often a glance goes to one object up close, over several from afar, or away from all.
_KINDS = ("inspect", "survey", "away")
_SHARES = (0.58, 0.17, 0.25)


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

    def __init__(self, glances: Sequence[Glance], rng: np.random.Generator) -> None:
        self._glances = list(glances)
        self._sway_hz = rng.uniform([0.6, 0.6, 1.0, 0.4, 0.5], [0.9, 0.9, 1.4, 0.7, 0.9])
        self._phase = rng.uniform(0, 2 * np.pi, (2, 5))

    def pose(self, time_s: float) -> Pose:
        """Pose at any time from 0 to the end of the last glance."""
        state = self._still(time_s)
        angle = 2 * np.pi * self._sway_hz * time_s
        slow = np.sin(angle + self._phase[0]) * np.array([0.01, 0.01, 0.012, 1.1, 0.9])
        quick = np.sin(3.1 * angle + self._phase[1]) * np.array([0.0, 0.0, 0.002, 0.35, 0.3])
        state = state + slow + quick
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


def plan_path(room: Room, *, seconds: float, seed: int) -> HeadPath:
    """Glances over the objects of a room, in shuffled rounds, for at least ``seconds``."""
    rng = np.random.default_rng([seed, 3])
    glances: list[Glance] = []
    round_: list[int] = []
    kind = "away"
    while not glances or glances[-1].end_s < seconds + 1:
        last = glances[-1] if glances else None
        kinds = [k for k in _KINDS if not (k == "away" and kind == "away")]
        weights = np.array([_SHARES[_KINDS.index(k)] for k in kinds])
        kind = str(rng.choice(kinds, p=weights / weights.sum()))
        if kind == "away" and last is not None:
            state = _look_away(last.state, rng)
        else:
            if not round_:
                round_ = list(rng.permutation(len(room.placed)))
            target = room.placed[round_.pop()].centre_xyz
            distance = (0.32, 0.62) if kind == "inspect" else (0.75, 1.25)
            eye = _find_eye(room, target, last, distance=distance, rng=rng)
            if eye is None:
                continue
            state = _look_at(eye, target, rng)
        glances.append(_append_glance(last, state, rng))
    return HeadPath(glances, rng)


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
