"""Surfaces of made things, as triangles with places on a picture. Lengths in metres, z is up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]

AROUND = 36
"""Corners of a round cross-section."""


@dataclass(frozen=True, slots=True)
class Surface:
    """A mesh.

    Attributes:
        vertices_xyz: (V, 3) metres.
        faces: (F, 3) corners of triangles, counter-clockwise from outside.
        uv: (V, 2) place of each vertex on the picture, (0, 0) at its upper left.
    """

    vertices_xyz: Points
    faces: NDArray[np.int32]
    uv: Points

    def moved(self, by_xyz: Sequence[float]) -> Surface:
        """The same surface elsewhere."""
        return Surface(self.vertices_xyz + np.array(by_xyz), self.faces, self.uv)

    def scaled(self, by_xyz: Sequence[float]) -> Surface:
        """The same surface, stretched along the axes by positive factors."""
        return Surface(self.vertices_xyz * np.array(by_xyz), self.faces, self.uv)


def sheet(rows: Points) -> Surface:
    """The surface through a grid of points (R, C, 3); u goes along columns, v along rows.

    Outside is where rows, then columns, turn counter-clockwise: for a wall that is given from top
    to bottom, round the z axis counter-clockwise, that is away from the axis.
    """
    high, wide = rows.shape[:2]
    v, u = np.meshgrid(np.linspace(0, 1, high), np.linspace(0, 1, wide), indexing="ij")
    corner = np.arange(high * wide, dtype=np.int32).reshape(high, wide)
    a, b = corner[:-1, :-1].ravel(), corner[:-1, 1:].ravel()
    c, d = corner[1:, :-1].ravel(), corner[1:, 1:].ravel()
    faces = np.concatenate([np.stack([a, c, b], 1), np.stack([b, c, d], 1)])
    return Surface(rows.reshape(-1, 3), faces, np.stack([u.ravel(), v.ravel()], 1))


def lathe(profile_rz: Sequence[tuple[float, float]]) -> Surface:
    """A profile of (radius, height) pairs, from top to bottom, turned about the z axis."""
    angle = np.linspace(0, 2 * np.pi, AROUND + 1)
    radius, height = np.array(profile_rz).T
    rows = np.stack(
        [
            radius[:, None] * np.cos(angle),
            radius[:, None] * np.sin(angle),
            np.broadcast_to(height[:, None], (len(radius), len(angle))),
        ],
        axis=-1,
    )
    return sheet(rows)


def panel(corner: Sequence[float], right: Sequence[float], down: Sequence[float]) -> Surface:
    """A flat rectangle from its upper left corner along two edges, seen upright from outside."""
    start, across, along = (np.array(way, float) for way in (corner, right, down))
    rows = np.stack([[start, start + across], [start + along, start + along + across]])
    return sheet(rows)


def box_sides(size_xyz: Sequence[float]) -> dict[str, Surface]:
    """The six sides of a box that stands on the origin, each with a picture of its own."""
    x, y, z = size_xyz
    a, b = x / 2, y / 2
    return {
        "front": panel((-a, -b, z), (x, 0, 0), (0, 0, -z)),
        "back": panel((a, b, z), (-x, 0, 0), (0, 0, -z)),
        "right": panel((a, -b, z), (0, y, 0), (0, 0, -z)),
        "left": panel((-a, b, z), (0, -y, 0), (0, 0, -z)),
        "top": panel((-a, b, z), (x, 0, 0), (0, -y, 0)),
        "bottom": panel((-a, -b, 0), (x, 0, 0), (0, y, 0)),
    }


def ball(radii_xyz: Sequence[float]) -> Surface:
    """An ellipsoid around the origin."""
    angle = np.linspace(0, np.pi, AROUND // 2)
    return lathe(list(zip(np.sin(angle), np.cos(angle), strict=True))).scaled(radii_xyz)


def tube(path_xyz: Points, radius: float) -> Surface:
    """A round tube along points (N, 3) that lie in a plane through the z axis."""
    ahead = np.gradient(path_xyz, axis=0)
    ahead /= np.linalg.norm(ahead, axis=1, keepdims=True)
    side = np.array([0.0, 1.0, 0.0])
    up = np.cross(side, ahead)
    angle = np.linspace(0, 2 * np.pi, 13)[None, :, None]
    rows = path_xyz[:, None] + radius * (np.cos(angle) * side + np.sin(angle) * up[:, None])
    return sheet(rows)


def loft(sections: Sequence[tuple[float, float, float, float]]) -> Surface:
    """Rounded cross-sections (x, half width, low, high) along the x axis, from back to front."""
    angle = np.linspace(0, 2 * np.pi, AROUND + 1)
    round_y = np.sign(np.cos(angle)) * np.abs(np.cos(angle)) ** 0.7
    round_z = np.sign(np.sin(angle)) * np.abs(np.sin(angle)) ** 0.7
    rows = [
        np.stack(
            [
                np.full_like(angle, x),
                half * round_y,
                (low + high) / 2 + (high - low) / 2 * round_z,
            ],
            axis=-1,
        )
        for x, half, low, high in sections
    ]
    return sheet(np.stack(rows)[::-1])
