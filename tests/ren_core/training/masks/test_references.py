"""Things of training windows in other pictures: what they show, and what they depend on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from ren_core.geometry import mask_to_box
from ren_core.training.masks.references import draw_reference
from ren_core.training.sources import Entry, RegionImage
from tests.mask_cases import SIZE_HW, Squares


@pytest.fixture
def squares(tmp_path):
    return Squares(tmp_path, 6)


def references(source, index, thing, *, moved=0.0, count=8):
    found = source.read(index)
    for seed in range(count):
        rng = np.random.default_rng(seed)
        yield draw_reference(source, index, found, thing, moved, rng)


@pytest.mark.parametrize("thing", [0, 1])
def test_the_mask_lies_on_the_thing_however_it_is_turned(squares, thing):
    colour = [(220, 30, 30), (30, 30, 220)][thing]
    shapes = set()
    for picture, mask in references(squares, 1, thing):
        assert picture.shape[:2] == mask.shape
        near = np.abs(picture.astype(int) - colour).max(axis=2) < 60
        both, either = (near & mask).sum(), (near | mask).sum()
        assert both / either > 0.85
        box = mask_to_box(mask)
        longer = (box[2:] - box[:2]).max()
        assert max(mask.shape) <= 3.1 * 1.5 * longer  # turned squares are wider
        shapes.add(mask.shape)
    assert len(shapes) > 1


def test_another_ground_leaves_the_thing(squares):
    plain = list(references(squares, 2, 0))
    moved = list(references(squares, 2, 0, moved=1.0))
    changed = []
    for (before, mask), (after, same) in zip(plain, moved, strict=True):
        assert np.array_equal(mask, same)
        inner = np.abs(before[mask].astype(int) - after[mask]).max(axis=1)
        assert np.median(inner) == 0
        changed.append((before[~mask] != after[~mask]).mean())
    assert max(changed) > 0.1


def test_the_same_draws_give_the_same_picture(squares):
    for (one, own), (other, same) in zip(
        references(squares, 0, 1, moved=0.5), references(squares, 0, 1, moved=0.5), strict=True
    ):
        assert np.array_equal(one, other)
        assert np.array_equal(own, same)


class Video(Squares):
    """Two videos of three frames; the blue square is in the first frame of each only."""

    @property
    def entries(self) -> Sequence[Entry]:
        return [Entry(str(i // 3), self.root / f"{i}.bin") for i in range(self.count)]

    def read(self, index: int, variant: int = 0) -> RegionImage:
        found = super().read(index, variant)
        shown = 1 if index % 3 else 2
        image = found.image.copy()
        if shown == 1:
            image[found.masks[1]] = 110
        image[:6, :6] = 40 * index  # tells the frames apart
        return RegionImage(image, found.masks[:shown], found.names[:shown])


def test_another_frame_of_the_video_is_taken_where_it_shows_the_thing(tmp_path, monkeypatch):
    video, read = Video(tmp_path, 6), []
    own = Video.read

    def watch(self, index, variant=0):
        read.append(index)
        return own(self, index, variant)

    monkeypatch.setattr(Video, "read", watch)
    for _, mask in references(video, 1, 0):
        assert mask.any()
    assert set(read) == {0, 1, 2}
    found = own(video, 0)
    for picture, mask in references(video, 0, 1):  # no other frame has the blue one
        assert picture[mask][:, 2].mean() > 150
    assert found.image.shape[:2] == SIZE_HW


def test_a_thing_too_thin_to_turn_is_shown_as_it_is(tmp_path):
    class Line(Squares):
        def read(self, index: int, variant: int = 0) -> RegionImage:
            image, mask = np.zeros((*SIZE_HW, 3), np.uint8), np.zeros(SIZE_HW, bool)
            mask[40, 20:60] = True
            return RegionImage(image, mask[None], np.arange(1))

    assert all(mask.any() for _, mask in references(Line(tmp_path, 1), 0, 0, count=20))
