"""A hand with its forearm, which reaches for things and hides parts of them."""

from __future__ import annotations

from collections.abc import Sequence

import mujoco
import numpy as np

from tools.tours.looks import VISUAL_GROUP

HAND = "hand"
AWAY = np.array([0.0, 0.0, -8.0])
"""Where the hand is while nobody sees it, metres."""


def add_hand(spec: mujoco.MjSpec, rng: np.random.Generator) -> None:
    """A hand with its forearm, far below the floor until it is posed; fingers along +x."""
    tone = rng.uniform(0.25, 0.95)
    skin = [0.95 * tone + 0.05, 0.72 * tone + 0.03, 0.58 * tone + 0.02, 1]
    sleeve = [*rng.uniform(0.1, 0.8, 3), 1]
    body = spec.worldbody.add_body(name=HAND, mocap=True, pos=AWAY)

    for y, reach in ((-0.03, 0.085), (-0.01, 0.1), (0.01, 0.095), (0.03, 0.075)):
        _capsule(body, (-0.01, 0.8 * y, 0), (0.045, y, 0), 0.014, skin)  # palm
        _capsule(body, (0.045, y, 0), (reach, y, -0.02), 0.0085, skin)
    _capsule(body, (0.0, 0.035, 0), (0.05, 0.065, -0.015), 0.01, skin)
    _capsule(body, (-0.02, 0, 0), (-0.1, 0, -0.01), 0.026, skin)
    _capsule(body, (-0.1, 0, -0.01), (-0.6, 0, -0.05), 0.04, sleeve)


def _capsule(
    body: mujoco.MjsBody,
    start: Sequence[float],
    end: Sequence[float],
    radius: float,
    rgba: Sequence[float],
) -> None:
    body.add_geom(
        type=mujoco.mjtGeom.mjGEOM_CAPSULE,
        fromto=[*start, *end],
        size=[radius, 0, 0],
        rgba=rgba,
        group=VISUAL_GROUP,
        contype=0,
        conaffinity=0,
    )
