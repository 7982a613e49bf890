"""Windows about things: what they show, and their features on disk."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ren_core.geometry import mask_to_box
from ren_core.training.masks.sources import PastedSource, PieceSource
from ren_core.training.masks.windows import WindowConfig, build_windows, draw_windows
from ren_core.training.sources import RegionImage
from tests.mask_cases import Squares
from tests.tiny import TinyEncoder

CONFIG = WindowConfig(source="squares", encoder="tiny", per_picture=4, degrade=0)


@pytest.fixture
def squares(tmp_path):
    return Squares(tmp_path, 5)


def test_a_window_shows_its_thing_at_one_of_the_zooms(squares):
    for index in range(5):
        for window in draw_windows(squares, CONFIG, index):
            colours = window.picture[window.mask]
            assert len(colours)
            assert (np.ptp(colours, axis=0) == 0).all()  # all of one square, nothing else
            thing = mask_to_box(window.mask)
            longer = (thing[2:] - thing[:2]).max()
            assert max(window.mask.shape) <= 6.1 * longer + 2


def test_windows_depend_on_picture_and_seed_alone(squares):
    first, again = draw_windows(squares, CONFIG, 2), draw_windows(squares, CONFIG, 2)
    assert all(np.array_equal(a.picture, b.picture) for a, b in zip(first, again, strict=True))
    other = draw_windows(
        squares, WindowConfig(source="s", encoder="tiny", per_picture=4, seed=1), 2
    )
    assert any(a.picture.shape != b.picture.shape for a, b in zip(first, other, strict=True))


def test_faults_change_pixels_and_never_masks(squares):
    plain = draw_windows(squares, CONFIG, 0)
    bad = draw_windows(squares, WindowConfig(source="s", encoder="t", per_picture=4, degrade=1), 0)
    for a, b in zip(plain, bad, strict=True):
        assert np.array_equal(a.mask, b.mask)
        assert not np.array_equal(a.picture, b.picture)


def test_windows_are_encoded_once_and_read_back(squares, tmp_path):
    encoder = TinyEncoder()
    cache = build_windows(squares, encoder, CONFIG, out=tmp_path / "cache")
    times = {f: f.stat().st_mtime_ns for f in cache.directory.glob("*.safetensors")}
    assert len(times) == 5
    again = build_windows(squares, encoder, CONFIG, out=tmp_path / "cache")
    assert {f: f.stat().st_mtime_ns for f in again.directory.glob("*.safetensors")} == times
    window = draw_windows(squares, CONFIG, 3)[2]
    sample = cache.read(3, 2)
    picture = torch.from_numpy(window.picture).permute(2, 0, 1)[None].float() / 255
    with torch.no_grad():
        levels = encoder.levels(encoder.prepare(picture))
    for found, own in zip(sample.levels, (levels.patches, levels.middle, levels.fine), strict=True):
        torch.testing.assert_close(found.float(), own[0], rtol=1e-2, atol=1e-2)
    other = torch.from_numpy(window.reference.picture).permute(2, 0, 1)[None].float() / 255
    with torch.no_grad():
        known = encoder.encode(encoder.prepare(other))
    torch.testing.assert_close(sample.reference[:-1].float(), known[0], rtol=1e-2, atol=1e-2)
    assert float(sample.reference[-1].mean()) == pytest.approx(
        window.reference.mask.mean(), abs=0.02
    )
    share = sample.shares.mean() / 255
    assert share == pytest.approx(window.mask.mean(), abs=0.02)


class Empty(Squares):
    """Pictures without things."""

    def read(self, index: int, variant: int = 0) -> RegionImage:
        found = super().read(index, variant)
        return RegionImage(found.image, found.masks[:0], found.names[:0])


def test_a_picture_without_things_has_no_windows(tmp_path):
    cache = build_windows(Empty(tmp_path, 1), TinyEncoder(), CONFIG, out=tmp_path / "cache")
    assert cache.read(0, 0) is None


def test_pieces_are_the_connected_parts_and_the_whole(squares):
    class Merged(Squares):
        """Both squares are one region."""

        def read(self, index: int, variant: int = 0) -> RegionImage:
            found = super().read(index, variant)
            return RegionImage(found.image, found.masks.any(0, keepdims=True), found.names[:1])

    found = PieceSource(Merged(squares.root, 5), whole=True).read(0)
    areas = sorted(int(m.sum()) for m in found.masks)
    assert len(areas) == 3
    assert areas[0] + areas[1] == areas[2]
    without = PieceSource(Merged(squares.root, 5), least=0.99).read(0)
    assert len(without.masks) == 0


def test_pasted_things_are_where_their_masks_say(squares):
    source = PastedSource(squares, Empty(squares.root, 5), count=2, seed=3)
    before, after = squares.read(1).image, source.read(1)
    changed = (before != after.image).any(axis=2)
    covered = after.masks.any(axis=0)
    assert len(after.masks)
    assert (after.masks.sum(axis=0) <= 1).all()  # later ones hide earlier ones
    assert (changed & ~covered).mean() < 0.02  # soft edges only
    assert changed[covered].mean() > 0.6
    assert not np.array_equal(after.image, source.read(1, variant=1).image)
