"""Pictures of a room along a path, with exact instance ids, boxes and visible shares.

On a machine without a display, set ``MUJOCO_GL=osmesa`` (or ``egl``) before Python starts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType

import mujoco
import numpy as np
from numpy.typing import NDArray

from tools.tours.annotate import Sight
from tools.tours.camera import Plan, Pose
from tools.tours.looks import VISUAL_GROUP
from tools.tours.scene import MAX_OBJECTS, Room
from tools.tours.shapes import Points

EXPOSURE_S = 0.02
"""Time that the shutter is open; the camera moves on meanwhile."""
_TONE = (255 * (np.arange(256) / 255) ** 0.85).astype(np.float32)  # lifts the shadows a little


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture.

    Attributes:
        time_s: Middle of the exposure.
        rgb: (H, W, 3) uint8.
        instance_ids: (H, W) uint8 at the middle of the exposure: 0 nothing, 1..127 objects,
            128..255 furniture, floor and walls.
        pose: Camera at the middle of the exposure.
        blur_px: Length of the motion blur in the middle of the image.
    """

    time_s: float
    rgb: NDArray[np.uint8]
    instance_ids: NDArray[np.uint8]
    pose: Pose
    blur_px: float


class TourRenderer:
    """An open renderer for one tour of a room; use it as a context manager."""

    def __init__(
        self, room: Room, plan: Plan, *, size_hw: tuple[int, int], fovy_deg: float
    ) -> None:
        self.room = room
        self.plan = plan
        self.size_hw = size_hw
        self.fovy_deg = fovy_deg
        model = room.model
        model.vis.global_.offheight, model.vis.global_.offwidth = size_hw
        model.vis.global_.fovy = fovy_deg
        self._renderer = mujoco.Renderer(model, *size_hw)
        self._camera = mujoco.MjvCamera()
        self._options = mujoco.MjvOption()
        self._options.geomgroup[:] = 0
        self._options.geomgroup[VISUAL_GROUP] = 1
        self._options.sitegroup[:] = 0

    def __enter__(self) -> TourRenderer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._renderer.close()

    def frame(self, time_s: float, *, max_samples: int = 6) -> Frame:
        """Render the exposure around ``time_s``, and the instance ids at its middle."""
        pose = self.plan.path.pose(time_s)
        rgb = self.picture(time_s, max_samples=max_samples)
        return Frame(time_s, rgb, self._instance_ids(pose), pose, self._blur_px(time_s))

    def picture(self, time_s: float, *, max_samples: int) -> NDArray[np.uint8]:
        """The exposure (H, W, 3) around ``time_s``: the mean of 1..``max_samples`` moments."""
        path = self.plan.path
        pose = path.pose(time_s)
        self.plan.events.apply(self.room, time_s, pose.eye_xyz, pose.axes)
        samples = int(np.clip(np.ceil(self._blur_px(time_s) / 2.5), 1, max_samples))
        total = np.zeros((*self.size_hw, 3), np.float32)
        for k in range(samples):
            offset = EXPOSURE_S * ((k + 0.5) / samples - 0.5)
            total += self._draw(path.pose(time_s + offset))
        light = np.clip(total / samples * self._gain(time_s), 0, 255)
        toned: NDArray[np.uint8] = _TONE[light.astype(np.uint8)].astype(np.uint8)
        return toned

    def _gain(self, time_s: float) -> float:
        """Factor of the brightness, which drifts as that of a camera that adapts."""
        drift = np.sin(0.9 * time_s) * np.sin(0.37 * time_s + 1.0)
        return float(2 ** (self.room.life.exposure * drift))

    def _blur_px(self, time_s: float) -> float:
        """Rough path of the image during the exposure, for a scene half a metre away."""
        path = self.plan.path
        a, b = path.pose(time_s - EXPOSURE_S / 2), path.pose(time_s + EXPOSURE_S / 2)
        turned = np.hypot(a.yaw - b.yaw, a.pitch - b.pitch)
        moved = np.degrees(np.linalg.norm(a.eye_xyz - b.eye_xyz) / 0.5)
        return float((turned + moved) * self.size_hw[0] / self.fovy_deg)

    def _draw(self, pose: Pose) -> NDArray[np.uint8]:
        ahead = 0.5
        self._camera.lookat[:] = pose.eye_xyz + ahead * pose.forward
        self._camera.distance = ahead
        self._camera.azimuth, self._camera.elevation = pose.yaw, pose.pitch
        self._renderer.update_scene(self.room.data, self._camera, self._options)
        return np.asarray(self._renderer.render())

    def _instance_ids(self, pose: Pose) -> NDArray[np.uint8]:
        self._renderer.enable_segmentation_rendering()
        geoms = self._draw(pose)[..., 0]
        self._renderer.disable_segmentation_rendering()
        return np.where(geoms < 0, 0, self.room.id_of_geom[geoms]).astype(np.uint8)


def render_tour(
    room: Room,
    plan: Plan,
    times_s: Sequence[float],
    *,
    size_hw: tuple[int, int] = (480, 640),
    fovy_deg: float = 56.0,
    max_samples: int = 6,
) -> Iterator[Frame]:
    """Yield the frames of ``times_s`` one by one."""
    with TourRenderer(room, plan, size_hw=size_hw, fovy_deg=fovy_deg) as renderer:
        for time_s in times_s:
            yield renderer.frame(time_s, max_samples=max_samples)


def sights(frame: Frame, room: Room, plan: Plan, fovy_deg: float) -> Mapping[str, Sight]:
    """What the frame shows of each object that has at least one visible pixel, by title."""
    placed_now = plan.events.placed_at(room, frame.time_s)
    found: dict[str, Sight] = {}
    for instance in np.unique(frame.instance_ids):
        if not 1 <= instance <= MAX_OBJECTS:
            continue
        rows, columns = np.nonzero(frame.instance_ids == instance)
        box = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        placed = placed_now[instance - 1]
        whole = _projected_area(placed.outline_xyz, frame, fovy_deg)
        share = min(1.0, float((box[2] - box[0]) * (box[3] - box[1]) / whole))
        x1, y1, x2, y2 = (int(v) for v in box)
        found[placed.title] = Sight((x1, y1, x2, y2), len(rows), round(share, 3))
    return found


def _projected_area(points_xyz: Points, frame: Frame, fovy_deg: float) -> float:
    """Area in pixels of the box around points (N, 3), also where it leaves the image."""
    x, y, depth = frame.pose.axes @ (points_xyz - frame.pose.eye_xyz).T
    if depth.min() < 0.02:
        return np.inf
    focal = frame.rgb.shape[0] / 2 / np.tan(np.radians(fovy_deg) / 2)
    return float(np.ptp(x / depth) * np.ptp(y / depth) * focal**2)
