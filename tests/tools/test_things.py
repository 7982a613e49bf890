"""Things made here: whole surfaces, unlimited identities, twins that differ in one respect."""

from __future__ import annotations

from dataclasses import fields

import mujoco
import numpy as np
import pytest

from tools.tours import labels, shapes
from tools.tours.errors import TourError
from tools.tours.objects import compile_model
from tools.tours.things import KINDS, Thing, design_of, model_of, respects_of

ALL = [Thing(kind=kind, seed=seed) for kind in KINDS for seed in (1, 2, 5)]
TWINS = [Thing(kind=kind, seed=7, twin=respect) for kind in KINDS for respect in respects_of(kind)]


def volume(surface):
    """Enclosed volume; positive if the faces turn outwards."""
    a, b, c = (surface.vertices_xyz[surface.faces[:, k]] for k in range(3))
    return float(np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6)


class TestShapes:
    def test_a_ball_has_its_volume_and_faces_outwards(self):
        assert volume(shapes.ball((0.1, 0.2, 0.3))) == pytest.approx(
            4 / 3 * np.pi * 0.006, rel=0.03
        )

    def test_a_box_of_six_sides_is_closed(self):
        sides = shapes.box_sides((0.1, 0.2, 0.3))
        assert sum(volume(side) for side in sides.values()) == pytest.approx(0.006)
        low = min(side.vertices_xyz[:, 2].min() for side in sides.values())
        assert low == 0

    def test_a_turned_profile_is_a_cylinder(self):
        can = shapes.lathe([(0, 0.2), (0.1, 0.2), (0.1, 0), (0, 0)])
        assert volume(can) == pytest.approx(np.pi * 0.01 * 0.2, rel=0.01)

    @pytest.mark.parametrize(
        ("surface", "axis"),
        [
            (shapes.tube(np.linspace([0, 0, 0], [0, 0, 1], 5), 0.05), [0, 0, 1]),
            (shapes.loft([(0, 0.1, -0.1, 0.1), (0.3, 0.1, -0.1, 0.1)]), [1, 0, 0]),
        ],
        ids=["tube", "loft"],
    )
    def test_tube_and_loft_face_outwards(self, surface, axis):
        a, b, c = (surface.vertices_xyz[surface.faces[:, k]] for k in range(3))
        away = a - np.outer(a @ axis, axis)
        assert (np.einsum("ij,ij->i", np.cross(b - a, c - a), away) > 0).all()

    def test_a_picture_runs_from_left_to_right_and_top_to_bottom(self):
        front = shapes.box_sides((0.2, 0.1, 0.4))["front"]
        corner = front.vertices_xyz[np.argmin(front.uv.sum(axis=1))]
        assert corner == pytest.approx([-0.1, -0.05, 0.4])  # upper left, seen from -y


class TestThings:
    @pytest.mark.parametrize("thing", ALL, ids=lambda t: t.identity)
    def test_a_thing_stands_on_the_origin_and_fits_a_table(self, thing):
        model, data = compile_model(model_of(thing))
        corners = []
        for geom in range(model.ngeom):
            mesh = model.geom_dataid[geom]
            start = model.mesh_vertadr[mesh]
            local = model.mesh_vert[start : start + model.mesh_vertnum[mesh]]
            turn = data.geom_xmat[geom].reshape(3, 3)
            corners.append(local @ turn.T + data.geom_xpos[geom])
        points = np.concatenate(corners)
        assert points[:, 2].min() == pytest.approx(0, abs=0.004)
        assert 0.03 < np.ptp(points, axis=0).max() < 0.35

    def test_equal_seeds_give_equal_things_and_others_do_not(self):
        assert design_of(Thing(kind="mug", seed=4)) == design_of(Thing(kind="mug", seed=4))
        designs = {design_of(Thing(kind="box", seed=seed)) for seed in range(200)}
        assert len(designs) == 200

    @pytest.mark.parametrize("twin", TWINS, ids=lambda t: t.identity)
    def test_a_twin_differs_in_its_respect_only(self, twin):
        first, second = design_of(Thing(kind=twin.kind, seed=twin.seed)), design_of(twin)
        changed = {
            f.name
            for f in fields(first)
            if f.name != "label" and getattr(first, f.name) != getattr(second, f.name)
        } | {
            f.name
            for f in fields(first.label)
            if getattr(first.label, f.name) != getattr(second.label, f.name)
        }
        assert (
            changed
            == {
                "colour": {"colours"},
                "word": {"word"},
                "size": {"scale"},
                "part": {"part", "accent"},
            }[twin.twin]
        )
        if twin.twin == "size":
            assert not 0.8 < second.scale / first.scale < 1.25

    def test_a_twin_by_colour_can_be_told_apart_even_if_the_first_is_grey(self):
        for seed in range(60):
            first, twin = (
                design_of(Thing(kind="bowl", seed=seed, twin=t)).label.colours[0]
                for t in ("", "colour")
            )
            assert np.abs(np.subtract(first, twin)).max() > 40, seed

    def test_titles_and_identities_are_unique(self):
        things = [*ALL, *TWINS]
        assert len({thing.title for thing in things}) == len(things)
        assert len({thing.identity for thing in things}) == len(things)
        assert {Thing(kind=t.kind, seed=7).family for t in TWINS} == {t.family for t in TWINS}

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"kind": "cup"}, "kind must be one of"),
            ({"kind": "shoe", "twin": "word"}, "the twin of a shoe differs in colour, size, part"),
        ],
    )
    def test_what_cannot_be_made_is_refused(self, change, message):
        with pytest.raises(TourError, match=message):
            Thing(**{"seed": 1, "kind": "box", **change})


class TestLabels:
    @pytest.mark.parametrize("pattern", labels.PATTERNS)
    def test_every_pattern_shows_on_the_front(self, pattern):
        label = labels.Label(
            colours=((200, 40, 40), (40, 60, 200), (245, 244, 240)),
            pattern=pattern,
            word="",
            seed=3,
        )
        picture = labels.print_front(label, (96, 128))
        assert picture.shape == (128, 96, 3)
        plain = (picture == label.colours[0]).all()
        assert plain == (pattern == "plain")

    def test_the_word_is_on_the_panel_and_within_it(self):
        label = labels.Label(
            colours=((200, 40, 40), (40, 60, 200), (245, 244, 240)),
            pattern="plain",
            word="LUMOKA",
            seed=3,
        )
        blank = labels.Label(colours=label.colours, pattern="plain", word="LUMOKI", seed=3)
        one, other = (labels.print_front(x, (160, 200)) for x in (label, blank))
        rows, columns = np.nonzero((one != other).any(axis=2))
        assert len(rows)
        assert 0.05 * 160 < columns.min() < columns.max() < 0.95 * 160

    def test_words_are_many(self):
        rng = np.random.default_rng(0)
        assert len({labels.random_word(rng) for _ in range(500)}) > 400


def test_geoms_are_seen_and_touch_nothing():
    model, _ = compile_model(model_of(Thing(kind="toy", seed=2)))
    assert set(model.geom_group) == {1}
    assert not model.geom_contype.any()
    assert (model.geom_type == mujoco.mjtGeom.mjGEOM_MESH).all()
