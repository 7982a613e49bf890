"""Rooms made here and what goes on in them: nothing overlaps, things move only out of sight."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest

from tools.tours.camera import Plan, plan_tour
from tools.tours.life import Reach
from tools.tours.objects import ObjectSpec
from tools.tours.scene import Life, RoomSpec, build_room
from tools.tours.things import Thing

SECONDS = 120.0
THINGS = [Thing(kind=kind, seed=90 + k) for k, kind in enumerate(("box", "mug", "shoe", "can"))]


def make_room(seed=3, **life):
    objects = tuple(ObjectSpec(asset=thing, title=thing.title) for thing in THINGS)
    return build_room(RoomSpec(room="home", seed=seed, objects=objects, life=Life(**life)))


@pytest.fixture(scope="module")
def lively():
    room = make_room(moves=8, hands=True)
    return room, plan_tour(room, seconds=SECONDS, seed=3)


def in_view(plan: Plan, time_s, point_xyz, margin_deg=42.0):
    """Whether a point is inside a round view that holds the corners of a 4:3 picture."""
    pose = plan.path.pose(time_s)
    way = point_xyz - pose.eye_xyz
    return way @ pose.forward / np.linalg.norm(way) > np.cos(np.radians(margin_deg))


def test_the_same_seed_gives_the_same_room_and_tour():
    rooms = [make_room(moves=3, hands=True) for _ in range(2)]
    plans = [plan_tour(room, seconds=20, seed=5) for room in rooms]
    for a, b in zip(*(room.placed for room in rooms), strict=True):
        assert (a.centre_xyz == b.centre_xyz).all()
    assert (plans[0].path.pose(9.3).eye_xyz == plans[1].path.pose(9.3).eye_xyz).all()
    assert len(plans[0].events.moves) == len(plans[1].events.moves)


def test_things_stand_apart_inside_the_walls_and_on_furniture():
    for seed in range(4):
        room = make_room(seed)
        for k, one in enumerate(room.placed):
            low, high = one.outline_xyz.min(0), one.outline_xyz.max(0)
            assert (low[:2] > -2).all()
            assert (high[:2] < 2.2).all()
            for other in room.placed[k + 1 :]:
                gap = np.maximum(low - other.outline_xyz.max(0), other.outline_xyz.min(0) - high)
                assert gap.max() > 0
        heights = [one.outline_xyz[:, 2].min() for one in room.placed]
        assert np.mean(np.array(heights) > 0.2) >= 0.5


def test_things_move_only_while_neither_place_is_in_view(lively):
    room, plan = lively
    assert len(plan.events.moves) >= 3
    for move in plan.events.moves:
        before = plan.events.placed_at(room, move.time_s - 1e-6)[move.index]
        after = plan.events.placed_at(room, move.time_s)[move.index]
        assert after.centre_xyz - before.centre_xyz == pytest.approx(move.by_xyz)
        assert np.linalg.norm(move.by_xyz) > 0.01
        for place in (before, after):
            assert not in_view(plan, move.time_s, place.centre_xyz)


def test_the_model_follows_the_events(lively):
    room, plan = lively
    move = plan.events.moves[0]
    body = room.body_of[move.index]
    pose = plan.path.pose(0.0)
    plan.events.apply(room, 0.0, pose.eye_xyz, pose.axes)
    first = room.data.xpos[body].copy()
    plan.events.apply(room, move.time_s + 1e-6, pose.eye_xyz, pose.axes)
    assert room.data.xpos[body] - first == pytest.approx(move.by_xyz)
    plan.events.apply(room, 0.0, pose.eye_xyz, pose.axes)
    assert room.data.xpos[body] == pytest.approx(first)


def test_a_hand_comes_in_and_goes_again(lively):
    room, plan = lively
    reach = plan.events.reaches[0]
    middle = (reach.start_s + reach.end_s) / 2

    def palm(time_s):
        pose = plan.path.pose(time_s)
        plan.events.apply(room, time_s, pose.eye_xyz, pose.axes)
        return room.data.mocap_pos[room.hand].copy()

    assert palm(reach.start_s - 0.01)[2] < -5
    assert np.linalg.norm(palm(middle) - reach.palm_xyz) < 0.2
    assert palm(reach.end_s + 0.01)[2] < -5


def test_a_reach_is_smooth():
    reach = Reach(1.0, 3.0, np.zeros(3))
    shares = [reach.share(t) for t in np.linspace(1, 3, 201)]
    assert shares[0] == shares[-1] == 0
    assert max(shares) == 1
    assert np.abs(np.diff(shares)).max() < 0.05


def test_a_still_room_has_no_events_and_its_model_is_left_alone():
    room = make_room()
    plan = plan_tour(room, seconds=20, seed=1)
    assert plan.events.moves == plan.events.reaches == ()
    assert room.hand is None
    assert "hand" not in {room.model.body(b).name for b in range(room.model.nbody)}


def test_planning_leaves_the_room_as_it_was():
    room = make_room(moves=8)
    before = room.data.xpos.copy()
    assert plan_tour(room, seconds=SECONDS, seed=3).events.moves
    mujoco.mj_forward(room.model, room.data)
    assert (room.data.xpos == before).all()


def test_an_object_whose_outer_body_has_no_name_is_found_in_the_model(monkeypatch):
    def nameless(item, rng):
        spec = mujoco.MjSpec()
        inner = spec.worldbody.add_body().add_body(name="object")
        inner.add_geom(type=mujoco.mjtGeom.mjGEOM_BOX, size=[0.03, 0.03, 0.03], group=1)
        return spec

    monkeypatch.setattr("tools.tours.scene.load_object", nameless)
    room = make_room()
    centres = [placed.centre_xyz for placed in room.placed]
    assert room.data.xpos[list(room.body_of)][:, :2] == pytest.approx(np.array(centres)[:, :2])
    assert set(room.id_of_geom) >= {1, 2, 3, 4}
